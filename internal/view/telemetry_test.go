package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/view"
)

// S-34, S-27: who looks sees the Telemetries of gateway logs, which of them were left,
// and the Gateways that are frozen for too long; of another namespace he asked for not.
func TestStatus_whatWasLeft(t *testing.T) {
	s := mesh.Snapshot{
		Telemetries: []mesh.Telemetry{
			{Namespace: "edge", Name: "serin-logs-a", By: "erin@office", Since: "2026-03-01T11:00:00Z"},
			{Namespace: "edge", Name: "serin-logs-b", By: "dan@home", Since: "2026-03-01T10:00:00Z", Left: true},
		},
		Edge: mesh.Edge{Gateways: []mesh.GatewayObject{
			{Namespace: "edge", Name: "late", Class: "istio", Frozen: mesh.PrivateTag("edge", "late"), Since: "2026-03-01T07:59:00Z"},
			{Namespace: "edge", Name: "early", Class: "istio", Frozen: mesh.PrivateTag("edge", "early"), Since: "2026-03-01T08:01:00Z"},
		}},
	}
	st := view.NewStatus(view.Look{Snapshot: s, Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)})
	var b strings.Builder
	if err := st.Text(&b, view.Text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"serin-logs-a", "it goes when its command ends", "dan@home", "its command was killed: serin repair", "2026-03-01T07:59:00Z (OVERDUE)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "08:01:00Z (OVERDUE)") {
		t.Errorf("one that is not overdue is called so:\n%s", b.String())
	}
	if line := st.Line(); !strings.Contains(line, "telemetry edge/serin-logs-b left") || strings.Contains(line, "serin-logs-a") {
		t.Error(line)
	}
	if in := st.In("shop"); len(in.Telemetries) > 0 || len(st.In("edge").Telemetries) != 2 {
		t.Errorf("%+v", in.Telemetries)
	}
}
