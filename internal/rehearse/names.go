package rehearse

import (
	"slices"
	"strings"
)

// names turns what names the namespace into what names the copy.
type names struct{ from, to string }

// turn is a text with the namespace's hosts in full and the accounts of its
// certificates changed: svc.shop.svc.cluster.local, cluster.local/ns/shop/sa/web.
func (n names) turn(s string) string {
	s = replaced(s, "."+n.from+".svc", "."+n.to+".svc")
	return strings.ReplaceAll(s, "/ns/"+n.from+"/", "/ns/"+n.to+"/")
}

// replaced replaces old where no name goes on behind it.
func replaced(s, old, with string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, old)
		if i < 0 {
			out.WriteString(s)
			return out.String()
		}
		end := i + len(old)
		out.WriteString(s[:i])
		if end < len(s) && inName(s[end]) {
			out.WriteString(old)
		} else {
			out.WriteString(with)
		}
		s = s[end:]
	}
}

// inName says whether a byte can stand inside of a DNS label.
func inName(b byte) bool {
	return b == '-' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// qualified is a "namespace/name" with the namespace changed.
func (n names) qualified(s string) string {
	if rest, ok := strings.CutPrefix(s, n.from+"/"); ok {
		return n.to + "/" + rest
	}
	return s
}

// own is the namespace's name changed, where a text is that and nothing else.
func (n names) own(s string) string {
	if s == n.from {
		return n.to
	}
	return s
}

// names says whether a text of an application names one of the namespace's
// Services with its namespace: the copy would ask the original there.
func (n names) names(s string, services []string) bool {
	if replaced(s, "."+n.from+".svc", "") != s {
		return true
	}
	return slices.ContainsFunc(services, func(name string) bool { return mentioned(s, name+"."+n.from) })
}

// mentioned says whether host stands in s with no name going on before or behind it.
func mentioned(s, host string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], host)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(host)
		if (start == 0 || !inName(s[start-1]) && s[start-1] != '.') && (end == len(s) || !inName(s[end]) && s[end] != '.') {
			return true
		}
		from = end
	}
}
