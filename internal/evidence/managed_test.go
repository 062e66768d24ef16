package evidence_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/evidence"
	"github.com/serin-mesh/serin/internal/mesh"
	"github.com/serin-mesh/serin/internal/plan"
	"github.com/serin-mesh/serin/internal/shadow"
)

// shadower answers each question with the next of its answers, the last for ever.
type shadower struct {
	answers [][]shadow.Report
	err     error
	asked   int
}

func (s *shadower) Gateway(_ context.Context, q shadow.Question, t corev1.PodTemplateSpec) ([]shadow.Report, error) {
	if len(q.Workloads) != 1 || t.Labels["a"] != "b" {
		return nil, errors.New("asked about something else")
	}
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	return s.answers[min(s.asked, len(s.answers))-1], nil
}

type seen mesh.Snapshot

func (s seen) Observe(context.Context) (mesh.Snapshot, error) { return mesh.Snapshot(s), nil }

// S-22: what each istiod of the new revision gives is compared, and only a full answer
// counts; what differs is believed once it has differed for some answers.
func TestS22_gatewaysAreCompared(t *testing.T) {
	gone := shadow.Difference{Class: shadow.Dangerous, Kind: shadow.Routes, Path: "virtualHosts[]", Op: shadow.Removed, Why: "a host is gone", Workloads: shadow.Count{N: 1, Of: 1}}
	odd := shadow.Difference{Class: shadow.Unexplained, Kind: shadow.Clusters, Path: "connectTimeout", Op: shadow.Changed, Workloads: shadow.Count{N: 1, Of: 1}}
	good := shadow.Report{Workloads: 1, Resources: 31, Differences: []shadow.Difference{{Class: shadow.Expected}}}
	with := func(ds ...shadow.Difference) shadow.Report {
		return shadow.Report{Workloads: 1, Resources: 31, Differences: ds}
	}
	empty := shadow.Report{Unasked: []shadow.Unasked{{Workload: "x", Why: "istiod a of revision 1-29-1 gives its proxies no listener"}}}
	for _, tt := range []struct {
		name     string
		answers  [][]shadow.Report
		err      error
		accepted []string
		asked    int
		took     time.Duration
		found    []string
		wrong    string
	}{
		{"the same at once", [][]shadow.Report{{good, good}}, nil, nil, 1, 0, nil, ""},
		{"falsely empty, then the same", [][]shadow.Report{{empty, empty}, {good, empty}, {good, good}}, nil, nil, 3, 2 * time.Second, nil, ""},
		{"routes come a moment after the Gateway", [][]shadow.Report{{with(gone), good}, {with(gone), good}, {good, good}}, nil, nil, 3, 2 * time.Second, nil, ""},
		{"a host is gone, of one istiod of two", [][]shadow.Report{{good, with(gone)}}, nil, nil, 4, 3 * time.Second, []string{"RDS virtualHosts[] removed"}, ""},
		{"the same of both is one", [][]shadow.Report{{with(gone, odd), with(gone, odd)}}, nil, nil, 4, 3 * time.Second, []string{"RDS virtualHosts[] removed", "CDS connectTimeout changed"}, ""},
		{"accepted", [][]shadow.Report{{with(odd), with(odd)}}, nil, []string{"CDS connectTimeout changed"}, 1, 0, []string{"CDS connectTimeout changed"}, ""},
		{"accepted is not another", [][]shadow.Report{{with(gone, odd)}}, nil, []string{"CDS connectTimeout changed"}, 4, 3 * time.Second, []string{"RDS virtualHosts[] removed", "CDS connectTimeout changed"}, ""},
		{"what differs changes before it is believed", [][]shadow.Report{{with(gone)}, {with(odd)}, {with(gone)}, {empty}, {with(odd)}}, nil, nil, 8, 7 * time.Second, []string{"CDS connectTimeout changed"}, ""},
		{"empty for ever", [][]shadow.Report{{empty}}, nil, nil, 0, time.Minute, nil, "for 1m0s: not compared: istiod a of revision 1-29-1 gives its proxies no listener"},
		{"nothing in it", [][]shadow.Report{{{}}}, nil, nil, 0, time.Minute, nil, "there is nothing to compare"},
		{"nobody answers", nil, errors.New("connection refused"), nil, 0, time.Minute, nil, "for 1m0s: not compared: connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shadower{answers: tt.answers, err: tt.err}
				began := clock.Now()
				f, err := evidence.Alike{Reader: seen(beside()), Shadower: s}.Compare(t.Context(), gatewayStep(), template(), tt.accepted)
				var found []string
				for _, d := range f.Found {
					found = append(found, d.Pattern)
				}
				if !slices.Equal(found, tt.found) || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%+v, %v", f, err)
				}
				if took := clock.Now().Sub(began); tt.asked > 0 && s.asked != tt.asked || took != tt.took {
					t.Errorf("asked %d times in %s, want %d in %s", s.asked, took, tt.asked, tt.took)
				}
				if err == nil && (f.Resources != 31 || f.Istiods != len(tt.answers[len(tt.answers)-1])) {
					t.Errorf("%+v: not what was compared", f)
				}
			})
		})
	}
}

func gatewayStep() plan.Step {
	s := beside()
	return plan.Step{Kind: plan.MoveGateway, From: "default", To: "1-29-1", Workloads: []mesh.Ref{s.Workloads[0].Ref}}
}

func template() corev1.PodTemplateSpec {
	var t corev1.PodTemplateSpec
	t.Labels = map[string]string{"a": "b"}
	return t
}

// Where no proxy of the old revision is there to be asked, nothing is known: that is
// an error, not a pass.
func TestS22_noProxyToAskIsNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := beside()
		for i := range s.Pods {
			s.Pods[i].Revision = "1-29-1"
		}
		_, err := evidence.Alike{Reader: seen(s), Shadower: &shadower{}}.Compare(t.Context(), gatewayStep(), template(), nil)
		if err == nil || !strings.Contains(err.Error(), "no workload in question is on revision default") && !strings.Contains(err.Error(), "is on") {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := (evidence.Alike{Reader: seen(beside()), Shadower: &shadower{err: errors.New("no")}}).Compare(ctx, gatewayStep(), template(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	})
}
