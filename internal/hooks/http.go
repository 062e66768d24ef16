package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// said is how much of an answer is kept for people.
const said = 160

// post is yes where the answer is one of the 2xx. The URL is in no error: it may
// have a token in it.
func (h *Hooks) post(ctx context.Context, address string, body []byte) (bool, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, "", errors.New("its URL cannot be read")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return false, "", fmt.Errorf("posting to it: %w", err)
	}
	defer resp.Body.Close()
	start, err := io.ReadAll(io.LimitReader(resp.Body, said))
	if err != nil {
		return false, "", fmt.Errorf("reading its answer: %w", err)
	}
	return resp.StatusCode/100 == 2, words(resp.Status, string(start)), nil
}

// words are an answer on one line.
func words(status, text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "")
	if text == "" {
		return status
	}
	return status + ": " + text
}
