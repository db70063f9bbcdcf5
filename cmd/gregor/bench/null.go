// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// nullBroker answers the raw modes' Produce with success and their Fetch with
// the same batch for every partition, by sendfile. It checks and keeps
// nothing: the rate of the raw client against it is the rate above which a
// measurement says more of the client than of the broker.
type nullBroker struct {
	batch      *os.File
	batchBytes int
	produced   []byte // a Produce reply with correlation id 0
}

// nullFrameBytesMax bounds the frames that it reads.
const nullFrameBytesMax = 256 << 20

func newNullBroker(dir string) (*nullBroker, error) {
	batch, err := encodeBatch(1<<20, 1024, "none", time.UnixMilli(0))
	if err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "batch"))
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt(batch.bytes, 0); err != nil {
		return nil, err
	}
	reply := kmsg.NewPtrProduceResponse()
	reply.Version = rawProduceVersion
	topic := kmsg.NewProduceResponseTopic()
	topic.Partitions = []kmsg.ProduceResponseTopicPartition{kmsg.NewProduceResponseTopicPartition()}
	reply.Topics = []kmsg.ProduceResponseTopic{topic}
	produced := reply.AppendTo(make([]byte, 9)) // size, correlation id, no tags
	binary.BigEndian.PutUint32(produced, uint32(len(produced)-4))
	return &nullBroker{batch: file, batchBytes: len(batch.bytes), produced: produced}, nil
}

func (b *nullBroker) serve(conn *net.TCPConn) error {
	in := bufio.NewReaderSize(conn, drainBytes)
	produced := append([]byte(nil), b.produced...)
	for {
		prefix, err := in.Peek(12)
		if err != nil {
			return err
		}
		size, key := int(binary.BigEndian.Uint32(prefix)), int16(binary.BigEndian.Uint16(prefix[4:]))
		correlation := binary.BigEndian.Uint32(prefix[8:])
		if size > nullFrameBytesMax {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		switch key {
		case 0:
			if _, err := in.Discard(4 + size); err != nil {
				return err
			}
			binary.BigEndian.PutUint32(produced[4:], correlation)
			if _, err := conn.Write(produced); err != nil {
				return err
			}
		case 1:
			frame := make([]byte, 4+size)
			if _, err := io.ReadFull(in, frame); err != nil {
				return err
			}
			if err := b.fetch(conn, frame, correlation); err != nil {
				return err
			}
		default:
			return fmt.Errorf("API key %d: only Produce and Fetch", key)
		}
	}
}

func (b *nullBroker) fetch(conn *net.TCPConn, frame []byte, correlation uint32) error {
	request := kmsg.NewPtrFetchRequest()
	request.Version = rawFetchVersion
	// Size, key, version, correlation id, client id, tags.
	body := 4 + 2 + 2 + 4 + 2 + int(binary.BigEndian.Uint16(frame[12:])) + 1
	if err := request.ReadFrom(frame[body:]); err != nil {
		return err
	}
	for _, topic := range request.Topics {
		head := make([]byte, 4, 64)
		head = binary.BigEndian.AppendUint32(head, correlation)
		head = append(head, 0)                   // tags
		head = append(head, make([]byte, 10)...) // throttle time, error, session id
		head = append(head, 2)                   // one topic
		head = append(head, topic.TopicID[:]...)
		head = binary.AppendUvarint(head, uint64(len(topic.Partitions)+1))
		parts := make([][]byte, len(topic.Partitions))
		size := len(head) + 2 - 4 // the topic's and the reply's tags
		for i, p := range topic.Partitions {
			parts[i] = appendFetchPartition(nil, p.Partition, b.batchBytes)
			size += len(parts[i]) + b.batchBytes + 1
		}
		binary.BigEndian.PutUint32(head, uint32(size))
		if _, err := conn.Write(head); err != nil {
			return err
		}
		for _, part := range parts {
			if _, err := conn.Write(part); err != nil {
				return err
			}
			for at := 0; at < b.batchBytes; at += sendfileBytes {
				if err := sendFile(conn, b.batch, int64(at), min(sendfileBytes, b.batchBytes-at)); err != nil {
					return err
				}
			}
			if _, err := conn.Write([]byte{0}); err != nil {
				return err
			}
		}
		if _, err := conn.Write([]byte{0, 0}); err != nil {
			return err
		}
	}
	return nil
}

func appendFetchPartition(dst []byte, index int32, recordsBytes int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(index))
	dst = append(dst, make([]byte, 2+8+8+8)...)          // error, high watermark, last stable offset, log start
	dst = append(dst, 0)                                 // no aborted transactions
	dst = binary.BigEndian.AppendUint32(dst, 0xffffffff) // no preferred replica
	return binary.AppendUvarint(dst, uint64(recordsBytes+1))
}
