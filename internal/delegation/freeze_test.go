package delegation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreezeOf(t *testing.T) {
	const unknown = "is none of origins, authors, namespaces and reason"
	type data = map[string]string
	for name, c := range map[string]struct {
		data data
		want Freeze
	}{
		"no keys":        {nil, Freeze{Everything: true}},
		"a reason alone": {data{"reason": " a restore \n"}, Freeze{Everything: true, Why: "a restore"}},
		"an origin":      {data{"origins": alice}, Freeze{Origins: []string{alice}}},
		"authors and a reason": {
			data{"authors": alice + "\r\n\n " + bob + "\n", "reason": "odd"}, Freeze{Authors: []string{alice, bob}, Why: "odd"},
		},
		"a namespace":              {data{"namespaces": "agents"}, Freeze{Namespaces: []string{"agents"}}},
		"a mistyped key":           {data{"origin": alice}, Freeze{Everything: true, Why: `its key "origin" ` + unknown}},
		"a mistyped key and lists": {data{"Authors": alice, "origins": bob}, Freeze{Everything: true, Why: `its key "Authors" ` + unknown}},
		"a key that names nothing": {data{"origins": " \n", "authors": bob}, Freeze{Everything: true, Why: `its key "origins" names nothing`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, FreezeOf(c.data)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if why := FreezeOf(map[string]string{"reason": strings.Repeat("x", 5000)}).Why; len(why) > 600 {
		t.Errorf("the reason has %d bytes", len(why))
	}
}
