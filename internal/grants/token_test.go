package grants

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestCredentialID(t *testing.T) {
	token := func(claims string) string {
		return "head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".signature"
	}
	for name, c := range map[string]struct {
		token, want string
		fails       bool
	}{
		"a token":          {token: token(`{"jti":"4711","sub":"x"}`), want: "4711"},
		"without an id":    {token: token(`{"sub":"x"}`), fails: true},
		"no JWT":           {token: "opaque", fails: true},
		"no base64":        {token: "a.%%.c", fails: true},
		"no JSON":          {token: token(`nothing`), fails: true},
		"an id that is no": {token: token(`{"jti":{}}`), fails: true},
	} {
		got, err := credentialID(c.token)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: the error holds the token: %v", name, err)
		}
	}
}
