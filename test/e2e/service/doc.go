// Package service is the sample's application: one program in the shape of each
// of bookinfo's services. On 9080 it answers HTTP/1.1, HTTP/2 in clear text and a
// websocket, on 9081 a gRPC stream, on 9082 plain TCP. It calls its upstreams for
// each request and answers with the chain of pods that took part.
//
// It counts what it has answered, by kind of load, and reports the counts to the
// load's ledger, so that every request is accounted for at both ends.
//
// At SIGTERM it drains or stops at once, as it is told. Start reading at Run.
package service
