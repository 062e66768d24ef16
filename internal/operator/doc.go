// Package operator knows what an IstioOperator file means: which charts it asks
// for, with which values, and what it changes in the objects that come out of
// them. It follows "istioctl manifest generate", merge for merge (ADR 12); what
// istioctl takes and then drops without a word is refused by name here.
//
// It must not know clusters, Helm or where charts come from: it is handed a
// release's own hub and tag, and rendered objects to finish. Start reading at
// Read, then Document.Resolve, then Component.Finish.
package operator
