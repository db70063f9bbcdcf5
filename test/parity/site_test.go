// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerTimeout is when a request counts as not answered: long after the
	// slowest machine has loaded Kafka's classes, since only what is wrong takes
	// so long.
	answerTimeout = 90 * time.Second
	clientID      = "parity"
	frameBytesMax = 64 << 20
)

const (
	keyProduce              = 0
	keyFetch                = 1
	keyListOffsets          = 2
	keyMetadata             = 3
	keyOffsetCommit         = 8
	keyOffsetFetch          = 9
	keyFindCoordinator      = 10
	keyJoinGroup            = 11
	keyHeartbeat            = 12
	keyLeaveGroup           = 13
	keySyncGroup            = 14
	keyDescribeGroups       = 15
	keyListGroups           = 16
	keyApiVersions          = 18
	keyCreateTopics         = 19
	keyDeleteTopics         = 20
	keyInitProducerID       = 22
	keyOffsetForLeaderEpoch = 23
	keyDescribeCluster      = 60

	keyDeleteRecords              = 21
	keyDescribeConfigs            = 32
	keyAlterConfigs               = 33
	keyCreatePartitions           = 37
	keyElectLeaders               = 43
	keyIncrementalAlterConfigs    = 44
	keyListPartitionReassignments = 46
	keyListConfigResources        = 74
	keyDescribeTopicPartitions    = 75
	keyDescribeLogDirs            = 35
	keyDescribeQuorum             = 55
	keyUpdateFeatures             = 57
	keyDescribeProducers          = 61
	keyUnregisterBroker           = 64
	keyDeleteGroups               = 42
	keyConsumerGroupHeartbeat     = 68
	keyConsumerGroupDescribe      = 69
	keyOffsetDelete               = 47

	keyAlterPartitionReassignments = 45
)

// served are the versions that both brokers serve.
var served = map[int16][2]int16{
	keyProduce: {3, 13}, keyFetch: {4, 18}, keyListOffsets: {1, 11}, keyMetadata: {0, 13}, keyApiVersions: {0, 5},
	keyCreateTopics: {2, 7}, keyDeleteTopics: {1, 6}, keyInitProducerID: {0, 5}, keyOffsetForLeaderEpoch: {2, 4}, keyDescribeCluster: {0, 2},
	keyDeleteRecords: {0, 2}, keyDescribeConfigs: {1, 4}, keyAlterConfigs: {0, 2}, keyCreatePartitions: {0, 3}, keyElectLeaders: {0, 2}, keyIncrementalAlterConfigs: {0, 1},
	keyDescribeClientQuotas: {0, 1}, keyAlterClientQuotas: {0, 1},
	keyOffsetCommit: {2, 10}, keyOffsetFetch: {1, 10}, keyFindCoordinator: {0, 6}, keyJoinGroup: {0, 9}, keyHeartbeat: {0, 4}, keyLeaveGroup: {0, 5}, keySyncGroup: {0, 5},
	keyDescribeGroups: {0, 6}, keyListGroups: {0, 5}, keyDeleteGroups: {0, 3}, keyOffsetDelete: {0, 0}, keyConsumerGroupHeartbeat: {0, 1}, keyConsumerGroupDescribe: {0, 1},
	keyDescribeUserScram: {0, 0}, keyDescribeACLs: {1, 3}, keyCreateACLs: {1, 3}, keyDeleteACLs: {1, 3},
	keyAlterPartitionReassignments: {0, 1}, keyListPartitionReassignments: {0, 0}, keyListConfigResources: {0, 1}, keyDescribeTopicPartitions: {0, 0},
	keyDescribeLogDirs: {1, 5}, keyDescribeQuorum: {0, 2}, keyUpdateFeatures: {0, 2}, keyDescribeProducers: {0, 0}, keyWriteTxnMarkers: {1, 2}, keyUnregisterBroker: {0, 0},
}

// site is one of the brokers, and what it alone has given names to.
type site struct {
	name    string
	address string
	port    int32
	cluster string
	conns   map[string]*wire
	ids     map[string][16]byte // of topics
	names   map[[16]byte]string
	kept    map[string]int64  // what a step keeps for a later one
	members map[string]string // member ids, by the name that the list gives them
}

func newSite(t *testing.T, name, address string) *site {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return &site{name: name, address: address, port: int32(tcp.Port), conns: map[string]*wire{},
		ids: map[string][16]byte{}, names: map[[16]byte]string{}, kept: map[string]int64{}, members: map[string]string{}}
}

// id is the id of a topic that was learned.
func (s *site) id(topic string) [16]byte { return s.ids[topic] }

func (s *site) learn(topic string, id [16]byte) {
	if id != [16]byte{} {
		s.ids[topic], s.names[id] = id, topic
	}
}

// wire is one connection.
type wire struct {
	c           net.Conn
	correlation int32
}

// conn is a connection by its name, dialed when it is not there.
func (s *site) conn(name string) (*wire, error) {
	if w := s.conns[name]; w != nil {
		return w, nil
	}
	c, err := net.DialTimeout("tcp", s.address, answerTimeout)
	if err != nil {
		return nil, err
	}
	w := &wire{c: c}
	s.conns[name] = w
	return w, nil
}

func (s *site) drop(name string) {
	if w := s.conns[name]; w != nil {
		_ = w.c.Close()
		delete(s.conns, name)
	}
}

func (w *wire) send(payload []byte) error {
	_ = w.c.SetWriteDeadline(time.Now().Add(answerTimeout))
	_, err := w.c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...))
	return err
}

var errSilence = errors.New("no answer")

// receive reads one frame. io.EOF stands for every way in which the other side
// can end a connection.
func (w *wire) receive(timeout time.Duration) (correlation int32, body []byte, err error) {
	_ = w.c.SetReadDeadline(time.Now().Add(timeout))
	var size [4]byte
	if _, err := io.ReadFull(w.c, size[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, nil, errSilence
		}
		return 0, nil, io.EOF
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > frameBytesMax {
		return 0, nil, fmt.Errorf("frame of %d bytes", n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(w.c, frame); err != nil {
		return 0, nil, io.EOF
	}
	return int32(binary.BigEndian.Uint32(frame)), frame[4:], nil
}

// next gives a correlation id.
func (w *wire) next() int32 {
	w.correlation++
	return w.correlation
}

// alive asks for ApiVersions v0, which is answered on every connection that is
// still good.
func (w *wire) alive() bool {
	id := w.next()
	if w.send(payload(id, &kmsg.ApiVersionsRequest{})) != nil {
		return false
	}
	got, _, err := w.receive(answerTimeout)
	return err == nil && got == id
}

// payload is a request with its header.
func payload(correlation int32, req kmsg.Request) []byte {
	b := header(correlation, req.Key(), req.GetVersion(), req.IsFlexible())
	return req.AppendTo(b)
}

func header(correlation int32, key, version int16, flexible bool) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	if flexible {
		b = append(b, 0)
	}
	return b
}
