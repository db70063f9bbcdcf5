// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"

	"gregor/base/kafka"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// settleEpochs brings the leader epochs into agreement with the batches. The
// checkpoint has no checksum and a flipped bit makes one number into another,
// after which a follower would be truncated at the wrong offset: each epoch of
// it is compared with the batches where it begins.
func (r *recovery) settleEpochs() error {
	r.takeEpoch()
	if r.epochsFound {
		right, err := r.epochsRight()
		if err != nil {
			return err
		}
		if !right {
			r.l.log().Warn("leader epoch checkpoint is rebuilt from the log: it does not fit the batches", "file", r.l.dir()+"/"+epochsFile)
			r.epochsFound, r.epochs, r.epochsChanged = false, nil, true
		}
	}
	switch {
	case !r.epochsFound:
		return r.scanEpochs()
	case !r.clean:
		return r.fillEpochs()
	}
	return nil
}

// epochsRight compares the epochs with the batches where they begin. One batch
// that says something else than its neighbours is itself damaged.
func (r *recovery) epochsRight() (bool, error) {
	last := kafka.NoLeaderEpoch
	if r.end > r.logStart {
		err := r.eachBatch(r.end-1, func(s *segment.Scan, _ *logSegment) error {
			last = s.Header.LeaderEpoch
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	for i, e := range r.epochs {
		if e.Start >= r.end {
			if e.Epoch == last { // it has a batch, and so does not begin behind the log end
				return false, nil
			}
			continue
		}
		next := r.end
		if i+1 < len(r.epochs) {
			next = min(next, r.epochs[i+1].Start)
		}
		if next <= r.logStart {
			continue
		}
		before := kafka.NoLeaderEpoch
		if i > 0 {
			before = r.epochs[i-1].Epoch
		}
		right, seen := true, 0
		err := r.eachBatch(max(e.Start-1, r.logStart), func(s *segment.Scan, _ *logSegment) error {
			h := &s.Header
			switch {
			case h.LastOffset() < e.Start:
				right = right && h.LeaderEpoch != e.Epoch
				return nil
			case h.BaseOffset >= next || h.LeaderEpoch < 0:
				return errEnough
			case h.BaseOffset < e.Start && e.Start > r.logStart:
				// The log began inside this batch, and a crash came before that was
				// durable: fillEpochs knows what is in front.
				right = i == 0 && !r.clean && h.LeaderEpoch == e.Epoch
				return errEnough
			case h.LeaderEpoch == e.Epoch:
				return errEnough
			case h.LeaderEpoch == before || seen > 0 || h.NextOffset() >= next:
				right = false
				return errEnough
			}
			seen++
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return false, err
		}
		if !right {
			return false, nil
		}
	}
	return true, nil
}

func (r *recovery) cutEpochs() {
	list, a := r.epochs.truncateEnd(r.end)
	list, b := list.truncateStart(r.logStart)
	r.epochs, r.epochsChanged = list, r.epochsChanged || a || b
}

// scanEpochs takes the epochs from the batches, where the checkpoint is gone.
func (r *recovery) scanEpochs() error {
	err := r.eachBatch(0, func(s *segment.Scan, _ *logSegment) error {
		r.noteEpoch(&s.Header)
		return nil
	})
	r.takeEpoch()
	return err
}

// fillEpochs takes the epochs in front of the checkpoint's first from the
// batches. They are missing when a log start that was advanced, and the
// checkpoint with it, was not yet durable itself.
func (r *recovery) fillEpochs() error {
	if r.end <= r.logStart || (len(r.epochs) > 0 && r.epochs[0].Start <= r.logStart) {
		return nil
	}
	known := r.epochs
	r.epochs = nil
	err := r.eachBatch(r.logStart, func(s *segment.Scan, _ *logSegment) error {
		if len(known) > 0 && s.Header.BaseOffset >= known[0].Start {
			return errEnough
		}
		r.noteEpoch(&s.Header)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	r.takeEpoch()
	for _, e := range known {
		if e.Epoch > r.epochs.latest() {
			r.epochs, _ = r.epochs.assign(e.Epoch, e.Start)
		}
	}
	r.epochsChanged = true
	return nil
}

var errEnough = errors.New("enough")

// noteEpoch notes the epoch of a batch, once the next one does not go back
// behind it: no CRC covers it, and epochs never go back.
func (r *recovery) noteEpoch(h *batch.Header) {
	if h.LeaderEpoch < 0 {
		return
	}
	if h.LeaderEpoch >= r.risen.Epoch {
		r.takeEpoch()
	}
	r.risen = epochStart{Epoch: kafka.NoLeaderEpoch}
	if h.LeaderEpoch > r.epochs.latest() {
		r.risen = epochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset}
	}
}

// takeEpoch believes the epoch that was seen last.
func (r *recovery) takeEpoch() {
	if r.risen.Epoch >= 0 {
		list, changed := r.epochs.assign(r.risen.Epoch, r.risen.Start)
		r.epochs, r.epochsChanged = list, r.epochsChanged || changed
	}
	r.risen = epochStart{Epoch: kafka.NoLeaderEpoch}
}
