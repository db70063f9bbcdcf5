// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

var histories = flag.String("histories", "", "write random histories of records to this file, for cluster/image/testdata/Snapshots.java")

// TestWriteHistories writes what a controller does in random histories, with
// records of the kinds that it does not write itself in between. It does so only
// when -histories names a file.
func TestWriteHistories(t *testing.T) {
	if *histories == "" {
		return
	}
	f, err := os.Create(*histories)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	defer w.Flush()
	gen := rapid.Custom(func(t *rapid.T) []metarec.Record { return history(t) })
	for seed := range 25 {
		fmt.Fprintln(w, "history")
		for _, rec := range gen.Example(seed) {
			fmt.Fprintf(w, "+ %x\n", metarec.Marshal(nil, rec, MetadataVersion44IV2))
		}
	}
}

func history(t *rapid.T) []metarec.Record {
	m := &model{world: newWorld(nil), t: t, incarnation: map[int32]byte{}}
	m.env.Random = rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 255).Draw(t, "seed"))})
	var all []metarec.Record
	m.seen = func(recs []metarec.Record) { all = append(all, recs...) }
	m.step(Activate(m.img, &m.env))
	for range 40 {
		m.act()
		m.step(Outcome{Records: m.foreign()})
	}
	return all
}

// foreign gives a record of a kind that no request of the model makes.
func (m *model) foreign() []metarec.Record {
	value := rapid.SampledFrom([]string{"a", "b"}).Draw(m.t, "text")
	id := kafka.UUID(uuid(byte(rapid.IntRange(1, 3).Draw(m.t, "id"))))
	var rec metarec.Record
	switch rapid.IntRange(0, 20).Draw(m.t, "foreign") {
	case 0:
		rec = &metarec.Config{ResourceType: rapid.SampledFrom([]int8{4, 16, 32}).Draw(m.t, "type"), ResourceName: value, Name: "key", Value: &value}
	case 1:
		rec = &metarec.Config{ResourceType: 4, ResourceName: value, Name: "key"}
	case 2:
		rec = &metarec.ClientQuota{Entity: []metarec.QuotaEntity{{Type: "user", Name: &value}}, Key: "producer_byte_rate", Value: 7, Remove: rapid.Bool().Draw(m.t, "remove")}
	case 3:
		rec = &metarec.AccessControlEntry{ID: id, ResourceType: 2, ResourceName: value, PatternType: 3, Principal: "User:" + value, Host: "*", Operation: 3, PermissionType: 3}
		if m.img.ACL(id) != nil {
			rec = &metarec.RemoveAccessControlEntry{ID: id}
		}
	case 4:
		rec = &metarec.UserScramCredential{Name: value, Mechanism: 1, Salt: []byte{1}, StoredKey: []byte{2}, ServerKey: []byte{3}, Iterations: 4096}
		if m.img.ScramCredential(value, 1) != nil {
			rec = &metarec.RemoveUserScramCredential{Name: value, Mechanism: 1}
		}
	case 5:
		rec = &metarec.DelegationToken{Owner: "User:a", Requester: "User:a", Renewers: []string{"User:b"}, IssueTimestampMs: 1, MaxTimestampMs: 3, ExpirationTimestampMs: 2, TokenID: value}
	case 6:
		rec = &metarec.ProducerIDs{BrokerID: 1, BrokerEpoch: 1, NextProducerID: m.img.NextProducerID() + 1000}
	case 7:
		rec = &metarec.RegisterController{ControllerID: 7, IncarnationID: id, EndPoints: []metarec.Endpoint{{Name: "CONTROLLER", Host: "h", Port: 9093}}}
	case 8:
		rec = &metarec.FeatureLevel{Name: "group.version", Level: rapid.Int16Range(0, 1).Draw(m.t, "level")}
	case 9:
		rec = &metarec.NoOp{}
	case 10:
		if m.img.TopicCount() > 0 && (view{m.img, &m.env}).elrEnabled() {
			rec = &metarec.ClearELR{}
		}
	}
	if rec == nil {
		return nil
	}
	return []metarec.Record{rec}
}
