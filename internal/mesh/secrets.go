package mesh

import "strings"

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
