// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

const (
	markerFile     = ".kafka_cleanshutdown"
	markerBytesMax = 64 << 10
	noBrokerEpoch  = kafka.BrokerEpoch(-1)
)

// marker is the file whose presence says that the directory was stopped
// cleanly, and what makes one such file different from every other.
type marker struct {
	found       bool
	brokerEpoch kafka.BrokerEpoch // -1: it does not tell
	inode       uint64
	modTimeNano int64
	content     string
}

// readMarker takes any marker as clean, as Kafka does: older ones are empty, and
// one that cannot be parsed only loses the broker epoch.
func readMarker(fsys vfs.FS, dir string) (marker, error) {
	path := filepath.Join(dir, markerFile)
	m := marker{brokerEpoch: noBrokerEpoch}
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	b, err := vfs.ReadFile(fsys, path, markerBytesMax)
	if err != nil {
		return m, err
	}
	m.found, m.inode, m.modTimeNano, m.content = true, info.Inode, info.ModTimeNano, string(b)
	var body struct {
		BrokerEpoch *int64 `json:"brokerEpoch"`
	}
	if json.Unmarshal(b, &body) == nil && body.BrokerEpoch != nil {
		m.brokerEpoch = kafka.BrokerEpoch(*body.BrokerEpoch)
	}
	return m, nil
}

// writeMarker makes the directory a clean one. Everything else must be durable.
func writeMarker(fsys vfs.FS, dir string, epoch kafka.BrokerEpoch) (marker, error) {
	body := fmt.Sprintf(`{"version":0,"brokerEpoch":%d}`, epoch)
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, markerFile), []byte(body)); err != nil {
		return marker{}, err
	}
	return readMarker(fsys, dir)
}

// removeDurably removes files of dir as far as they are there.
func removeDurably(fsys vfs.FS, dir string, names ...string) error {
	removed := false
	for _, name := range names {
		err := fsys.Remove(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return fsys.SyncDir(dir)
}
