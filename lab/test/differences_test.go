package test_test

import "regexp"

// difference is how a mesh that serin has brought somewhere may differ from the one
// that was brought there by hand. One that is not seen any more fails: then serin, or
// what is done by hand, has changed.
type difference struct {
	line *regexp.Regexp // of a line that only one of them has: "- MARK: …" by hand, "+ MARK: …" by serin
	why  string
}

func differs(line, why string) difference { return difference{regexp.MustCompile(line), why} }

// Those that every walk-through has.
func always() []difference {
	return []difference{
		differs(`^\+ \S+: ConfigMap istio-system/serin-run-\*$`, "serin keeps what it has done, and every old value, in the cluster: serin report shows it, serin rollback needs it"),
		differs(`^- \S+: Deployment \S+: spec\.template\.metadata\.annotations\.kubectl\.kubernetes\.io/restartedAt = a time$`,
			"kubectl's restart writes the time into the template; serin lets each old pod serve until another has its place, and changes no template (S-44)"),
	}
}

// Those of walk-throughs whose control planes come from an IstioOperator file.
func byFile() []difference {
	return append(always(), []difference{
		differs(`^[-+] \S+: ServiceAccount istio-system/istio-reader-service-account: metadata\.labels\.(istio\.io/rev|operator\.istio\.io/version) = `,
			"istioctl install labels the base's objects anew for each revision; serin installs the control plane alone, and what all revisions share stays as it is"),
	}...)
}

// The marks of a chart on what no chart has made.
func chartMarks() difference {
	return differs(`^- \S+: (Service istio-system/istiod|MutatingWebhookConfiguration istio)-revision-tag-\S+: metadata\.(labels\.(app\.kubernetes\.io/(instance|managed-by|name|part-of)|release)|annotations\.meta\.helm\.sh/release-name(space)?) = `,
		"istioctl tag set leaves the chart's marks on a tag, managed-by Helm among them, and no release holds it; serin's tags have Istio's own alone")
}

// The Service of a tag that leads to the unrevisioned control plane.
func tagSelector() difference {
	return differs(`^[-+] \S+: Service istio-system/istiod-revision-tag-\S+: spec\.selector\.istio(\.io/rev)? = "(pilot|default)"$`,
		"a tag's Service selects what its revision's own Service selects; istioctl of 1.29 renders one for an unrevisioned istiod as its own release would have it, by istio.io/rev")
}

// differences are those that are meant, by script.
func differences() map[string][]difference {
	return map[string][]difference{
		"1-canary-page": append(byFile(), chartMarks(), tagSelector(),
			differs(`^(- \S+: Namespace test-ns: metadata\.labels\.istio-injection|\+ \S+: Namespace test-ns: metadata\.labels\.istio\.io/rev) = "(enabled|default)"$`,
				"serin move names a revision or a tag: the label that was there before comes back by serin rollback; both lead to the default tag"),
		),
		"2-revision-and-namespace": append(byFile(), chartMarks()),
		"3-istiooperator":          append(byFile(), chartMarks(), tagSelector()),
		"4-helm": append(always(), chartMarks(),
			differs(`^\+ \S+: Deployment \S+: spec\.template\.metadata\.annotations\.serin\.dev/restarted = `,
				"a gateway is rolled out by serin too, with an annotation of its own that names the revision: kubectl's has the time (S-44)"),
			differs(`^[-+] there: ValidatingWebhookConfiguration istiod-default-validator: `,
				"istioctl tag set takes the default validator out of the base chart's release, whose next upgrade by Helm then conflicts; serin moves it through that release (S-3, S-17)"),
			differs(`^- gone: ValidatingWebhookConfiguration istiod-default-validator: `,
				"by hand the default validator that istioctl took is left behind, and calls an istiod that is gone: all of Istio's configuration is refused from then on; serin leaves none"),
		),
	}
}
