// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

const (
	propertiesFile     = "meta.properties"
	propertiesBytesMax = 64 << 10
)

// Properties is the content of meta.properties, version 1: whose directory this
// is.
type Properties struct {
	ClusterID string
	NodeID    kafka.NodeID
	// DirectoryID is zero in a directory that Kafka before 3.7 formatted.
	DirectoryID kafka.DirectoryID

	others map[string]string // keys that are not ours, kept when it is rewritten
}

// MismatchError says that a directory belongs to another node or cluster.
type MismatchError struct {
	Path, Key, Has, Want string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s says %s=%s, but this node has %s=%s: it is the directory of another node or cluster",
		e.Path, e.Key, e.Has, e.Key, e.Want)
}

// ReadProperties reads meta.properties of a directory; found is false when there
// is none. It needs no lock, so that a node can learn its ids before it starts.
func ReadProperties(fsys vfs.FS, dir string) (p Properties, found bool, err error) {
	path := filepath.Join(dir, propertiesFile)
	b, err := vfs.ReadFile(fsys, path, propertiesBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return Properties{}, false, nil
	}
	if err != nil {
		return Properties{}, false, err
	}
	p, err = parseProperties(b)
	if err != nil {
		return Properties{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return p, true, nil
}

func parseProperties(b []byte) (Properties, error) {
	keys, err := parseJavaProperties(b)
	if err != nil {
		return Properties{}, err
	}
	var p Properties
	if version := keys["version"]; version != "1" {
		return p, fmt.Errorf("version is %q, want 1 (version 0 is of ZooKeeper days and has to be migrated by Kafka)", version)
	}
	p.ClusterID = keys["cluster.id"]
	if p.ClusterID == "" {
		return p, errors.New("cluster.id is missing")
	}
	id, err := strconv.ParseInt(keys["node.id"], 10, 32)
	if err != nil || id < 0 {
		return p, fmt.Errorf("node.id is %q, want a number from 0", keys["node.id"])
	}
	p.NodeID = kafka.NodeID(id)
	if text, ok := keys["directory.id"]; ok {
		uuid, err := kafka.ParseUUID(text)
		if err != nil {
			return p, fmt.Errorf("directory.id: %w", err)
		}
		p.DirectoryID = kafka.DirectoryID(uuid)
	}
	for _, key := range []string{"version", "cluster.id", "node.id", "directory.id"} {
		delete(keys, key)
	}
	p.others = keys
	return p, nil
}

func (p Properties) append(b []byte) []byte {
	b = append(b, "#\n"...)
	b = fmt.Appendf(b, "cluster.id=%s\ndirectory.id=%s\nnode.id=%d\nversion=1\n", escapeValue(p.ClusterID), p.DirectoryID, p.NodeID)
	keys := make([]string, 0, len(p.others))
	for key := range p.others {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		b = fmt.Appendf(b, "%s=%s\n", escapeKey(key), escapeValue(p.others[key]))
	}
	return b
}

// UnformattedError says that a directory has no meta.properties although others
// of the node have one. It may be a new disk, or the place where the old one
// was not mounted: then everything that it holds would seem to be lost, and be
// begun anew on the disk below. Only the operator knows.
type UnformattedError struct{ Path string }

func (e *UnformattedError) Error() string {
	return fmt.Sprintf("%s has no %s, and other directories of this node have one: mount the disk that belongs there or, for a new one, run: "+
		"gregor storage format %s --like <another log directory of this node>", e.Path, propertiesFile, e.Path)
}

// checkFormatted touches nothing: where a disk is missing, its place stays as it is.
func (d *Dir) checkFormatted() error {
	if !d.o.Formatted {
		return nil
	}
	_, found, err := ReadProperties(d.o.FS, d.o.Path)
	if err == nil && !found {
		return &UnformattedError{Path: d.o.Path}
	}
	return err
}

// identify reads meta.properties and compares it with the node, or writes it
// into a directory that has no partitions yet.
func identify(o *Options, hasPartitions bool) (Properties, error) {
	path := filepath.Join(o.Path, propertiesFile)
	p, found, err := ReadProperties(o.FS, o.Path)
	if err != nil {
		return p, err
	}
	switch {
	case !found && hasPartitions:
		return p, fmt.Errorf("%s is missing, yet the directory holds partitions: restore it, or move the partitions away", path)
	case !found:
		p = Properties{ClusterID: o.ClusterID, NodeID: o.NodeID}
	case p.ClusterID != o.ClusterID:
		return p, &MismatchError{Path: path, Key: "cluster.id", Has: p.ClusterID, Want: o.ClusterID}
	case p.NodeID != o.NodeID:
		return p, &MismatchError{Path: path, Key: "node.id", Has: fmt.Sprint(p.NodeID), Want: fmt.Sprint(o.NodeID)}
	case !p.DirectoryID.IsZero():
		return p, nil
	}
	id, err := kafka.NewUUID(o.Random)
	if err != nil {
		return p, err
	}
	p.DirectoryID = kafka.DirectoryID(id)
	return p, vfs.WriteFileAtomic(o.FS, path, p.append(nil))
}

// Format gives an empty directory an identity of its own, so that a node that
// has others begins to use it.
func Format(o Options) (kafka.DirectoryID, error) {
	o.ensureDefaults()
	_, found, err := ReadProperties(o.FS, o.Path)
	switch {
	case err != nil:
		return kafka.DirectoryID{}, err
	case found:
		return kafka.DirectoryID{}, fmt.Errorf("%s is there: the directory is in use already", filepath.Join(o.Path, propertiesFile))
	}
	h, err := Hold(o)
	if err != nil {
		return kafka.DirectoryID{}, err
	}
	return h.ID(), h.Close()
}

// Held is a directory that this process has for itself and that holds no
// partitions: that of the metadata log, where it has one of its own.
type Held struct {
	properties Properties
	lock       io.Closer
}

// Hold locks a directory and reads, or writes, its identity.
func Hold(o Options) (*Held, error) {
	o.ensureDefaults()
	h := &Held{}
	err := vfs.MakeDir(o.FS, o.Path)
	if err == nil {
		h.lock, err = lock(o.FS, o.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("hold directory %s: %w", o.Path, err)
	}
	infos, err := o.FS.ReadDir(o.Path)
	if err == nil {
		folders, _ := sortFolders(o.Path, infos) // other folders are none of its business
		h.properties, err = identify(&o, len(folders.partitions) > 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold directory %s: %w", o.Path, err), h.lock.Close())
	}
	return h, nil
}

// ID is directory.id.
func (h *Held) ID() kafka.DirectoryID { return h.properties.DirectoryID }

// Close lets the directory go.
func (h *Held) Close() error { return h.lock.Close() }

// parseJavaProperties reads the syntax of java.util.Properties: comments with
// # or !, keys that end at =, : or white space, \uXXXX and other escapes, lines
// that go on after a backslash. Bytes above 127 are Latin-1, as there.
func parseJavaProperties(b []byte) (map[string]string, error) {
	keys := map[string]string{}
	for _, line := range logicalLines(string(b)) {
		end, escaped := len(line), false
		for i := range len(line) {
			if c := line[i]; !escaped && strings.IndexByte("=: \t\f", c) >= 0 {
				end = i
				break
			}
			escaped = line[i] == '\\' && !escaped
		}
		rest := strings.TrimLeft(line[end:], " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		key, err := unescape(line[:end])
		if err != nil {
			return nil, err
		}
		if keys[key], err = unescape(rest); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func logicalLines(text string) []string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	var lines []string
	joined, joining := "", false
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimLeft(line, " \t\f")
		if !joining && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		body := strings.TrimRight(line, `\`)
		backslashes := len(line) - len(body)
		joining = backslashes%2 == 1
		if joining {
			line = line[:len(line)-1]
		}
		joined += line
		if !joining {
			lines = append(lines, joined)
			joined = ""
		}
	}
	if joined != "" {
		lines = append(lines, joined)
	}
	return lines
}

func unescape(s string) (string, error) {
	var units []uint16
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			units = append(units, uint16(c))
			continue
		}
		i++
		if i == len(s) {
			break
		}
		switch c = s[i]; c {
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'n':
			c = '\n'
		case 'f':
			c = '\f'
		case 'u':
			if i+4 >= len(s) {
				return "", fmt.Errorf("malformed \\u escape in %q", s)
			}
			unit, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", fmt.Errorf("malformed \\u escape in %q", s)
			}
			units = append(units, uint16(unit))
			i += 4
			continue
		}
		units = append(units, uint16(c))
	}
	return string(utf16.Decode(units)), nil
}

func escapeKey(s string) string { return escape(s, true) }

func escapeValue(s string) string { return escape(s, false) }

func escape(s string, everySpace bool) string {
	var b strings.Builder
	for i, unit := range utf16.Encode([]rune(s)) {
		switch c := rune(unit); {
		case c == ' ' && (everySpace || i == 0):
			b.WriteString(`\ `)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\f':
			b.WriteString(`\f`)
		case c < 128 && strings.ContainsRune(`\=:#!`, c):
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\u%04X`, unit)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
