package mesh

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Hidden stands in a Snapshot for what may be a secret.
const Hidden = "(hidden)"

// Masked hides what looks like a secret by its key. A Snapshot goes into bug
// reports; deeds read a release's values themselves.
func Masked(values map[string]any) map[string]any {
	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = maskValue(k, v)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// Secrets are the paths of the values that Masked would hide, sorted.
func Secrets(values map[string]any) []string {
	return hidden("", values, Masked(values))
}

// hidden are the paths at which a document and its masked form differ.
func hidden(path string, was, is any) []string {
	var out []string
	switch was := was.(type) {
	case map[string]any:
		masked, _ := is.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(was)) {
			out = append(out, hidden(strings.TrimPrefix(path+"."+k, "."), was[k], masked[k])...)
		}
	case []any:
		masked, _ := is.([]any)
		for i := range was {
			out = append(out, hidden(path+"["+strconv.Itoa(i)+"]", was[i], masked[i])...)
		}
	case string:
		if is == Hidden && was != Hidden {
			out = append(out, path)
		}
	}
	return out
}

func maskValue(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return Masked(v)
	case []any:
		out := make([]any, len(v))
		named, _ := maskedName(v)
		for i := range v {
			out[i] = maskValue(key, v[i])
			if m, ok := out[i].(map[string]any); ok && named[i] {
				m["value"] = Hidden
			}
		}
		return out
	case string:
		if v != "" && Secret(key) {
			return Hidden
		}
	}
	return v
}

// maskedName finds list elements of the form {name: API_TOKEN, value: …}, as an environment has them.
func maskedName(list []any) (map[int]bool, bool) {
	out := map[int]bool{}
	for i, e := range list {
		m, ok := e.(map[string]any)
		name, isName := m["name"].(string)
		if _, has := m["value"].(string); ok && isName && has && Secret(name) {
			out[i] = true
		}
	}
	return out, len(out) > 0
}

// Secret says whether a key names a secret's value. What names a Secret object
// (imagePullSecrets, credentialName) is no secret, and the planner may need it.
func Secret(key string) bool {
	k := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
	for _, reference := range []string{"secrets", "secretname", "secretref", "credentialname", "tokenaudience", "tokenaud", "jwtpolicy"} {
		if strings.HasSuffix(k, reference) {
			return false
		}
	}
	for _, word := range []string{"password", "passwd", "secret", "token", "apikey", "privatekey", "accesskey", "credential", "passphrase"} {
		if strings.Contains(k, word) {
			return true
		}
	}
	return false
}

// Redacted is a document without what is a secret in it: by its key, as Masked has
// it, the keys that tokens are verified by, the values of headers that authenticate,
// and whatever else looks like a credential wherever it stands.
func Redacted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return redactedObject(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = Redacted(v[i])
		}
		return out
	case string:
		return RedactedText(v)
	}
	return v
}

func redactedObject(m map[string]any) map[string]any {
	owner := namesSecret(m["name"]) || namesSecret(m["key"])
	out := make(map[string]any, len(m))
	for k, v := range m {
		switch {
		case k == "name" || k == "key" || k == "@type":
			out[k] = v
		case hides(k, v) || owner && holds(k):
			out[k] = Hidden
		default:
			out[k] = Redacted(v)
		}
	}
	return out
}

// namesSecret says whether an object of this name, a header or a variable, is one.
func namesSecret(name any) bool {
	s, _ := name.(string)
	return s != "" && (Secret(s) || authenticates(s))
}

// hides says whether a field's value is a secret whatever it is in.
func hides(field string, value any) bool {
	s, isText := value.(string)
	return field == "localJwks" || field == "jwks" || isText && s != "" && Secret(field)
}

// holds says whether a field is the value of what the object's name names.
func holds(field string) bool {
	return field == "value" || field == "rawValue" || strings.HasSuffix(strings.ToLower(field), "match")
}

// authenticates says whether a header carries credentials.
func authenticates(header string) bool {
	switch strings.ToLower(header) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key":
		return true
	}
	return false
}

// credentials are what credentials look like, and what is shown instead.
func credentials() []struct{ looks, instead string } {
	return []struct{ looks, instead string }{
		{`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`, Hidden},
		{`(?i)\b(basic|bearer) +[A-Za-z0-9+/=._~-]{6,}`, "$1 " + Hidden},
		{`://[^/\s:@"]*:[^/\s@"]+@`, "://" + Hidden + "@"},
		{`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?`, Hidden},
		{`"k" *: *"[^"]*"`, `"k":"` + Hidden + `"`}, // a symmetric key of a JWKS
		{`\\"k\\" *: *\\"[^"\\]*\\"`, `\"k\":\"` + Hidden + `\"`},
	}
}

//nolint:gochecknoglobals // expressions that must be compiled: they are never written again
var credentialLooks = sync.OnceValue(func() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, c := range credentials() {
		out = append(out, regexp.MustCompile(c.looks))
	}
	return out
})

// RedactedText is a text without what looks like a credential.
func RedactedText(s string) string {
	for i, looks := range credentialLooks() {
		s = looks.ReplaceAllString(s, credentials()[i].instead)
	}
	return s
}
