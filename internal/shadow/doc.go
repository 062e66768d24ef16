// Package shadow compares what one istiod gives a proxy now with what another
// would give it, resource by resource, and says of each difference whether it is
// expected, unexplained or dangerous.
//
// Resources are JSON documents: whoever asked the istiods decoded them. The same
// comparison serves pods, today's against the one that the new revision's
// injector would make. Differences are grouped by pattern: where in which type of
// resource, and from what to what. What is expected is data (rules.json), each
// rule with its source; nothing matches by wildcard.
//
// It is part of the pure core. Start reading at Compare.
package shadow
