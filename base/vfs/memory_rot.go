// SPDX-License-Identifier: Apache-2.0

package vfs

// Rot lets a test damage a file as a disk does, which tells nobody: what change
// does to it leaves its modification time as it was.
func (m *Memory) Rot(name string, change func(File) error) error {
	info, err := m.Stat(name)
	if err != nil {
		return err
	}
	f, err := m.Open(name, ReadWrite, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := change(f); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked(name)
	if err == nil {
		n.modTimeNano = info.ModTimeNano
	}
	return err
}
