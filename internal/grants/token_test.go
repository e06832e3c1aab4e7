package grants

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestClaimsOf(t *testing.T) {
	token := func(claims string) string {
		return "head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".signature"
	}
	for name, c := range map[string]struct {
		token, want string
		wantIssued  time.Time
		fails       bool
	}{
		"a token":          {token: token(`{"jti":"4711","iat":1790000000}`), want: "4711", wantIssued: time.Unix(1790000000, 0)},
		"without an id":    {token: token(`{"iat":1790000000}`), fails: true},
		"without a time":   {token: token(`{"jti":"4711"}`), fails: true},
		"no JWT":           {token: "opaque", fails: true},
		"no base64":        {token: "a.%%.c", fails: true},
		"no JSON":          {token: token(`nothing`), fails: true},
		"an id that is no": {token: token(`{"jti":{}}`), fails: true},
	} {
		got, issued, err := claimsOf(c.token)
		if got != c.want || !issued.Equal(c.wantIssued) || (err != nil) != c.fails {
			t.Errorf("%s: %q, issued %s, %v", name, got, issued, err)
		}
		if err != nil && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: the error holds the token: %v", name, err)
		}
	}
}
