package plan

import "net/url"

// wrongURL says what is wrong with an address that a run keeps and everybody sees. It
// never repeats it: there may be a secret in it.
func wrongURL(address, example, instead string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "its url is not one as in " + example
	case u.User != nil:
		return "its url has a password in it, which everybody could read who may see the run" + instead
	}
	return ""
}
