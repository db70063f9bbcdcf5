// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"

	"gregor/base/vfs"
)

// cleanerFile is where Apache Kafka's cleaner notes how far it has been over
// each partition. It stays for Kafka's next turn, but for partitions that are
// gone: a new one of the same name has not been cleaned.
const cleanerFile = "cleaner-offset-checkpoint"

// loadCleaned reads the file. What is damaged is left to Kafka, which cleans
// from the beginning then.
func (d *Dir) loadCleaned() error {
	parsed, _, err := readCheckpoint(d.o.FS, d.path(cleanerFile), sum{})
	var damaged *CheckpointError
	if errors.As(err, &damaged) {
		d.o.Logger.Warn("checkpoint file is damaged and left alone", "file", d.path(cleanerFile), "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	d.cleaned = parsed
	for tp := range parsed {
		if d.logs[tp] == nil {
			delete(d.cleaned, tp)
			d.cleanedMoved, d.stale[tp] = true, d.listing
		}
	}
	return nil
}

// checkpointCleaned writes the file again where partitions of it went.
func (d *Dir) checkpointCleaned() error {
	var w checkpointWriter
	d.mu.Lock()
	moved := d.cleanedMoved
	if moved {
		for tp, offset := range d.cleaned {
			w.add(tp, offset)
		}
	}
	d.cleanedMoved = false
	d.mu.Unlock()
	if !moved {
		return nil
	}
	err := vfs.WriteFileAtomic(d.o.FS, d.path(cleanerFile), w.bytes())
	if err == nil {
		return nil
	}
	d.mu.Lock()
	d.cleanedMoved = true
	d.mu.Unlock()
	if !isFull(err) {
		d.Fail("checkpoint", err)
	}
	return err
}
