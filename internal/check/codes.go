package check

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/serin-mesh/serin/internal/skew"
)

// The codes of what checks find. A code keeps its meaning for ever.
const (
	codeUnsupported    = "SRN1040" // also the plan's
	codeDenied         = "SRN1301"
	codeGatewayServed  = "SRN1302"
	codeGatewayBundle  = "SRN1303"
	codeAlpha          = "SRN1304"
	codeProxyVersion   = "SRN1305"
	codeRelative       = "SRN1306"
	codeRemovedType    = "SRN1307"
	codeRoom           = "SRN1308"
	codeAlone          = "SRN1309"
	codeTwoBudgets     = "SRN1310"
	codeCallsNothing   = "SRN1311"
	codeNoBundle       = "SRN1312"
	codeOverlap        = "SRN1313"
	codeUnvalidated    = "SRN1314"
	codeNotEstablished = "SRN1315"
	codeNotServed      = "SRN1316"
	codeInstaller      = "SRN1317"
	codeProxySkew      = "SRN1318"
	codeNobodyDeploys  = "SRN1319"
	codeOwnImage       = "SRN1320"
	codeBug            = "SRN1321"
	codeUnseen         = "SRN1322"
	codeSetting        = "SRN1323"
	codeNative         = "SRN1324"
	codeRehearsal      = "SRN1325"
	codeLosesRequests  = "SRN1327"
	codeLetGo          = "SRN1068"
	codeGatewayUnsure  = "SRN1401"
	codeFrozen         = "SRN1413" // also the plan's
	codeLeftTelemetry  = "SRN1424"
)

// Doc is what a code means.
type Doc struct {
	Code     string   `json:"code"`
	What     string   `json:"what"`
	Severity []string `json:"severity"`         // those that it may have, the gravest first; a refusal ends the command or step
	Remedy   string   `json:"remedy,omitempty"` // in general: a finding's own names the object
	Istio    string   `json:"istio,omitempty"`  // istioctl's codes for it, if it has any
	Link     string   `json:"-"`                // where more is said
}

// manual is the page that has every code.
const manual = "https://github.com/serin-mesh/serin/blob/main/docs/findings.md#"

// Catalog lists every code, upgrade notes last.
func Catalog() []Doc {
	docs := slices.Clone(ownDocs())
	for _, n := range skew.AllNotes() {
		docs = append(docs, Doc{
			Code: n.Code, What: n.Minor + ": " + n.What, Severity: []string{cmp.Or(string(n.Weight), string(Info))}, Remedy: n.Remedy, Istio: n.Istio, Link: n.Link(),
		})
	}
	return docs
}

// Lookup says what a code means; an unknown one has only its name and page.
func Lookup(code string) Doc {
	docs := Catalog()
	if i := slices.IndexFunc(docs, func(d Doc) bool { return d.Code == code }); i >= 0 {
		return docs[i]
	}
	return Doc{Code: code, Link: manual + strings.ToLower(code)}
}

//go:embed codes.json
var codesFile []byte

//nolint:gochecknoglobals // a constant that must be decoded: it is never written again
var ownDocs = sync.OnceValue(func() []Doc {
	var docs []Doc
	if err := json.Unmarshal(codesFile, &docs); err != nil {
		return nil // a test reads the file
	}
	for i := range docs {
		docs[i].Link = manual + strings.ToLower(docs[i].Code)
	}
	return docs
})
