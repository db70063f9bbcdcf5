// SPDX-License-Identifier: Apache-2.0

// Package client drives Kafka clients of other languages as processes: the
// scripts under test/interop/python, node and java, one per client, which do
// what they are told and judge nothing. What they need is installed once, into
// .cache, by pip, npm and mvn.
//
// All scripts keep one convention. The argument is a verb. Requests are lines
// of JSON on stdin, answers lines of JSON on stdout; keys, values and header
// values are base64 or null.
//
//	describe  {"version", "codecs"}
//	produce   one ProduceRequest; {"offsets": [one for each record]}
//	consume   ConsumeRequests; to each {"record": Record} for each, then {"done": true}
//	admin     {"bootstrap"}, then calls {"call": name, ...}, each answered by
//	          {"answer": any}, {"error": {"code", "text"}} with Kafka's code,
//	          or {"lacks": true} where the client has no such function
//	group     one GroupRequest; then a member that says {"record": Record},
//	          {"assigned": places}, {"revoked": places}, {"lost": places}, and
//	          does {"do": "commit"}, answered by {"committed": {place: offset}}
//	          or an error, and {"do": "close"}, answered by {"done": true};
//	          {"lacks": true} at once where the client cannot do the protocol.
//	          Heartbeats of the classic protocol are HEARTBEAT_MS apart
package client
