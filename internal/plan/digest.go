package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrEdited says that a plan is not as serin wrote it.
var ErrEdited = errors.New("the plan was changed after serin wrote it")

// Digest is a checksum of the request, the steps and the findings: of everything
// in the plan but the digest itself, the counts, which follow every change of
// replicas and are no part of what is done (S-14), and which pods are going already:
// that has changed before anybody has read it.
func Digest(p Plan) (string, error) {
	p.Digest, p.Counts = "", Counts{}
	p.Findings = slices.DeleteFunc(slices.Clone(p.Findings), func(f Finding) bool { return f.Code == codeLeaving })
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encoding the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Verify refuses a plan that does not carry its own digest: what a person
// approved is what is applied. Ask for something else by a request.
func Verify(p Plan) error {
	d, err := Digest(p)
	if err != nil {
		return err
	}
	if d != p.Digest {
		return fmt.Errorf("checking the plan's digest: %w: it says %q, its content is %q; make a new one with serin plan", ErrEdited, p.Digest, d)
	}
	return nil
}

func (p Plan) signed() Plan {
	d, err := Digest(p)
	if err != nil {
		d = "" // values that JSON does not know: Verify will say so
	}
	p.Digest = d
	return p
}
