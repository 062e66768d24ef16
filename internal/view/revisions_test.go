package view_test

import (
	"bytes"
	"testing"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/mesh/meshtest"
	"github.com/serin-mesh/serin/internal/view"
)

func TestRevisions(t *testing.T) {
	canary := meshtest.Bookinfo("1.27.0").ControlPlane("canary", "1.29.1").Tag("prod", "canary")
	two := canary.Snapshot()
	moved := canary.Tag("default", "canary").Snapshot()
	dangling := meshtest.Bookinfo("1.27.0").Tag("prod", "gone").Snapshot()
	dangling.Pods[0].Revision = "older"
	dangling.Pods[1].Revision, dangling.Pods[1].Leaving = "oldest", true
	for name, tt := range map[string]struct {
		s mesh.Snapshot
		f view.Format
	}{
		"revisions-two.txt": {two, view.Text}, "revisions-moved.txt": {moved, view.Text}, "revisions-dangling.txt": {dangling, view.Text},
		"revisions-none.txt": {meshtest.New().Snapshot(), view.Text}, "revisions-wide.out": {moved, view.Wide},
		"revisions.json": {two, view.JSON}, "revisions.yaml": {dangling, view.YAML},
	} {
		golden(t, name, func(b *bytes.Buffer) error { return view.Revisions(b, tt.s, tt.f) })
	}
}
