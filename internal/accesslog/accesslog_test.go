package accesslog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-mesh/serin/internal/accesslog"
	"github.com/serin-mesh/serin/internal/mesh"
)

const edge = "istio-ingress"

func gatewayPod(rev string) mesh.Pod {
	return mesh.Pod{Namespace: edge, Name: "public-" + rev, Revision: rev, Labels: map[string]string{"app": "public", "istio": "public", "pod-template-hash": rev}}
}

func managedPod(gateway string) mesh.Pod {
	return mesh.Pod{Namespace: edge, Name: gateway, Revision: "default", Labels: map[string]string{mesh.GatewayNameLabel: gateway}}
}

// of is a mesh of two revisions that are configured alike, with these Telemetries.
func of(m accesslog.Mesh, ts ...accesslog.Telemetry) accesslog.Facts {
	m.Root = "istio-system"
	return accesslog.Facts{Meshes: map[string]accesslog.Mesh{"default": m, "1-29-1": m}, Telemetries: ts}
}

func entry(providers ...string) accesslog.Logging { return accesslog.Logging{Providers: providers} }

func in(namespace string, logging ...accesslog.Logging) accesslog.Telemetry {
	return accesslog.Telemetry{Namespace: namespace, Name: "t", Logging: logging}
}

func selecting(app string, logging ...accesslog.Logging) accesslog.Telemetry {
	return accesslog.Telemetry{Namespace: edge, Name: "for-" + app, Selector: map[string]string{"app": app}, Logging: logging}
}

func shows() accesslog.Mesh { return accesslog.Mesh{File: "/dev/stdout"} }

func otel() accesslog.Mesh {
	return accesslog.Mesh{Providers: map[string]accesslog.Provider{"otel": {Logs: true}, "file": {Logs: true, Path: "/var/log/access.log"}, "jaeger": {}}}
}

func otelByDefault() accesslog.Mesh {
	m := otel()
	m.Defaults = []string{"otel"}
	return m
}

// Who has a say, and what he says: a Telemetry for the workload before its
// namespace's, that before the root namespace's, that before the mesh's configuration
// (S-34). Each case was read in istiod's own merge.
func TestOf(t *testing.T) {
	off := accesslog.Logging{Providers: []string{"envoy"}, Disabled: true}
	filtered := accesslog.Logging{Providers: []string{"envoy"}, Filter: "response.code >= 400"}
	for _, tt := range []struct {
		name string
		f    accesslog.Facts
		want accesslog.State
		why  string
	}{
		{"nothing asks for them", of(accesslog.Mesh{}), accesslog.Unwritten, "no accessLogFile"},
		{"the mesh's configuration does", of(shows()), accesslog.Written, "accessLogFile"},
		{"into a file that no log shows", of(accesslog.Mesh{File: "/var/log/access.log"}), accesslog.Unwritten, "/var/log/access.log"},
		{"the root namespace's Telemetry does", of(accesslog.Mesh{}, in("istio-system", entry("envoy"))), accesslog.Written, "istio-system/t"},
		{"the namespace's does", of(accesslog.Mesh{}, in(edge, entry("envoy"))), accesslog.Written, "istio-ingress/t"},
		{"another namespace's does", of(accesslog.Mesh{}, in("shop", entry("envoy"))), accesslog.Unwritten, ""},
		{"the root's does, and the namespace's turns them off", of(shows(), in("istio-system", entry("envoy")), in(edge, off)), accesslog.Unwritten, "istio-ingress/t turns them off"},
		{"the root's turns them off, and the namespace's on", of(shows(), in("istio-system", off), in(edge, entry("envoy"))), accesslog.Written, "istio-ingress/t"},
		{"the namespace's turns them off, and one for the workload on", of(shows(), in(edge, off), selecting("public", entry("envoy"))), accesslog.Written, "for-public"},
		{"one for another workload turns them on", of(accesslog.Mesh{}, selecting("private", entry("envoy"))), accesslog.Unwritten, ""},
		{"of two of one namespace the older counts", of(shows(), in(edge, off), in(edge, entry("envoy"))), accesslog.Unwritten, "turns them off"},
		{"a Telemetry of metrics alone says nothing", of(shows(), in(edge)), accesslog.Written, "accessLogFile"},
		{"for servers alone is for no gateway", of(shows(), in(edge, accesslog.Logging{Mode: "SERVER", Providers: []string{"envoy"}, Disabled: true})), accesslog.Written, "accessLogFile"},
		{"some of them", of(shows(), in(edge, filtered)), accesslog.Filtered, "the filter of Telemetry istio-ingress/t"},
		{"the default provider takes them elsewhere", of(otelByDefault()), accesslog.Unwritten, "they go to otel alone"},
		{"a provider that the mesh does not know says nothing", of(shows(), in(edge, entry("nobody"))), accesslog.Written, "accessLogFile"},
		{"nor one that takes no logs", of(shows(), in(edge, entry("prometheus"))), accesslog.Written, "accessLogFile"},
		{"turned off without a provider's name, and there is no default one", of(shows(), in(edge, accesslog.Logging{Disabled: true})), accesslog.Written, "accessLogFile"},
		{"one that only the other revision reads", of(accesslog.Mesh{}, accesslog.Telemetry{Namespace: edge, Name: "new", Revision: "1-29-1", Logging: []accesslog.Logging{entry("envoy")}}), accesslog.Unwritten, ""},
		{"a revision whose configuration is not there", accesslog.Facts{}, accesslog.Unknown, "not there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v := tt.f.Of(gatewayPod("default")); v.State != tt.want || !strings.Contains(v.Why, tt.why) {
				t.Errorf("%+v, want %s because of %q", v, tt.want, tt.why)
			}
		})
	}
}

// A gateway that istiod deploys heeds targetRefs as well, no other does.
func TestOf_targets(t *testing.T) {
	f := of(accesslog.Mesh{}, accesslog.Telemetry{Namespace: edge, Name: "t", Targets: []string{"managed"}, Logging: []accesslog.Logging{entry("envoy")}})
	for p, want := range map[string]accesslog.State{"managed": accesslog.Written, "another": accesslog.Unwritten} {
		if v := f.Of(managedPod(p)); v.State != want {
			t.Errorf("%s: %+v", p, v)
		}
	}
	if v := f.Of(gatewayPod("default")); v.State != accesslog.Unwritten {
		t.Errorf("of no Gateway: %+v", v)
	}
}

func ask(pods ...mesh.Pod) accesslog.Ask {
	if len(pods) == 0 {
		pods = []mesh.Pod{gatewayPod("default"), gatewayPod("1-29-1")}
	}
	return accesslog.Ask{
		Gateway:  mesh.Gateway{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: edge, Name: "public"}, Shape: mesh.ShapeHelm},
		Services: []mesh.Service{{Namespace: edge, Name: "public", Selector: map[string]string{"app": "public", "istio": "public"}}}, Pods: pods,
	}
}

// S-34: the Telemetry selects what the Service selects, and access logs go on going
// where they go besides.
func TestS34_wanted(t *testing.T) {
	filtered := accesslog.Logging{Providers: []string{"otel"}, Filter: "response.code >= 400"}
	moved := otel()
	moved.Providers["envoy"], moved.Providers["console"] = accesslog.Provider{Logs: true, Path: "/tmp/log"}, accesslog.Provider{Logs: true, Path: "/dev/stdout"}
	for _, tt := range []struct {
		name string
		f    accesslog.Facts
		want []accesslog.Logging
	}{
		{"nothing asks for them", of(accesslog.Mesh{}), []accesslog.Logging{entry("envoy")}},
		{"they go to a default provider", of(otelByDefault()), []accesslog.Logging{entry("envoy"), entry("otel")}},
		{"the root's Telemetry sends some of them elsewhere", of(otel(), in("istio-system", filtered)), []accesslog.Logging{entry("envoy"), filtered}},
		{"the namespace's does, instead of the root's", of(otelByDefault(), in("istio-system", filtered), in(edge, entry("file"))), []accesslog.Logging{entry("envoy"), entry("file")}},
		{"what is off stays off", of(otel(), in(edge, accesslog.Logging{Providers: []string{"otel"}, Disabled: true})), []accesslog.Logging{entry("envoy")}},
		{"somebody has made something else of the name envoy", of(moved), []accesslog.Logging{entry("console")}},
		{"a Telemetry is for other pods", of(accesslog.Mesh{}, selecting("private", entry("otel"))), []accesslog.Logging{entry("envoy")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.f.Wanted(ask())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got.Logging); d != "" {
				t.Error(d)
			}
			if got.Namespace != edge || got.Name != "serin-logs-public" || len(got.Selector) != 2 {
				t.Errorf("%+v", got)
			}
			with := tt.f
			with.Telemetries = append(with.Telemetries, got)
			for _, p := range ask().Pods {
				if v := with.Of(p); v.State != accesslog.Written {
					t.Errorf("with it they are %+v on %s", v, p.Revision)
				}
			}
		})
	}
}

// S-34: one that is there is never overwritten, merged with or competed with; and
// nothing is added of which it cannot be told what it would end.
func TestS34_refused(t *testing.T) {
	differ := of(accesslog.Mesh{})
	differ.Meshes["1-29-1"] = otelByDefault()
	half := of(accesslog.Mesh{})
	delete(half.Meshes, "1-29-1")
	hidden := accesslog.Mesh{Providers: map[string]accesslog.Provider{"envoy": {Logs: true, Path: "/tmp/log"}}}
	own := selecting("public", entry("envoy"))
	own.Own = &mesh.Telemetry{By: "erin@office", Command: "serin gateway logs public --telemetry"}
	alone := ask()
	alone.Services = nil
	waypoint := ask()
	waypoint.Gateway.Shape = mesh.ShapeWaypoint
	stray := gatewayPod("stray")
	stray.Labels = map[string]string{"app": "public"}
	all := ask()
	all.Services[0].Selector = nil
	for _, tt := range []struct {
		name string
		f    accesslog.Facts
		ask  accesslog.Ask
		code string
		says string
	}{
		{"one selects all of them", of(accesslog.Mesh{}, selecting("public", entry("otel"))), ask(), "SRN1420", "Telemetry istio-ingress/for-public"},
		{"one of tracing alone selects them", of(accesslog.Mesh{}, selecting("public")), ask(), "SRN1420", "for-public"},
		{"one selects the new pods alone", of(accesslog.Mesh{}, accesslog.Telemetry{Namespace: edge, Name: "new", Selector: map[string]string{"pod-template-hash": "1-29-1"}}), ask(), "SRN1420", "istio-ingress/new"},
		{"one that only the new revision reads selects them", of(accesslog.Mesh{}, accesslog.Telemetry{Namespace: edge, Name: "new", Revision: "1-29-1", Selector: map[string]string{"app": "public"}}), ask(), "SRN1420", "istio-ingress/new"},
		{"another command's", of(accesslog.Mesh{}, own), ask(), "SRN1420", "erin@office (serin gateway logs public --telemetry)"},
		{"one has the name", of(accesslog.Mesh{}, accesslog.Telemetry{Namespace: edge, Name: "serin-logs-public", Selector: map[string]string{"app": "x"}}), ask(), "SRN1420", "serin-logs-public"},
		{"no Service", of(accesslog.Mesh{}), alone, "SRN1421", "none of its 0 Services"},
		{"a Service that selects by nothing: never a whole namespace", of(accesslog.Mesh{}), all, "SRN1421", "selects all of its pods"},
		{"pods that the Service does not select", of(accesslog.Mesh{}), ask(gatewayPod("default"), stray), "SRN1421", "no one selector"},
		{"a waypoint", of(accesslog.Mesh{}), waypoint, "SRN1421", "waypoint"},
		{"they go to a service by the mesh's configuration", of(accesslog.Mesh{Service: true}), ask(), "SRN1422", "enableEnvoyAccessLogService"},
		{"they go to a file in the proxy", of(accesslog.Mesh{File: "/var/log/a"}), ask(), "SRN1422", "/var/log/a"},
		{"the revisions send them to different places", differ, ask(), "SRN1422", "otel"},
		{"one revision's configuration is not there", half, ask(), "SRN1422", "cannot be told"},
		{"no provider writes to where logs show", of(hidden), ask(), "SRN1422", "no provider"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.f.Wanted(tt.ask)
			var r *accesslog.Refusal
			if !errors.As(err, &r) || r.Code != tt.code || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "remedy: ") {
				t.Errorf("%v, want %s with %q", err, tt.code, tt.says)
			}
		})
	}
}
