// SPDX-License-Identifier: Apache-2.0

package image

import "iter"

// tree is an immutable ordered map: a weight-balanced binary tree, in which a
// change copies the nodes on the way to the root and shares all others. The
// zero tree with a compare function is empty.
//
// Within one edit, nodes that the edit has made itself are changed in place
// (they carry its token), so that loading n keys makes n nodes and not n log n.
//
// Rejected: a hash trie, which has no order, so that snapshots would differ
// from node to node.
type tree[K, V any] struct {
	root    *node[K, V]
	compare func(a, b K) int
}

type node[K, V any] struct {
	key         K
	value       V
	size        int32
	left, right *node[K, V]
	owner       *token
}

// token is the identity of an edit.
type token struct{ _ byte }

// Balance parameters of Hirai and Yamamoto (2011), proven for both directions.
const (
	weightDelta = 3
	weightGamma = 2
)

func newTree[K, V any](compare func(a, b K) int) tree[K, V] { return tree[K, V]{compare: compare} }

func (t tree[K, V]) len() int { return int(size(t.root)) }

func size[K, V any](n *node[K, V]) int32 {
	if n == nil {
		return 0
	}
	return n.size
}

func (t tree[K, V]) get(key K) (value V, ok bool) {
	for n := t.root; n != nil; {
		c := t.compare(key, n.key)
		if c == 0 {
			return n.value, true
		}
		if c < 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return value, false
}

// set maps key to value. tok is the edit's token, nil for a lone change.
func (t *tree[K, V]) set(tok *token, key K, value V) {
	t.root = t.setAt(tok, t.root, key, value)
}

func (t *tree[K, V]) setAt(tok *token, n *node[K, V], key K, value V) *node[K, V] {
	if n == nil {
		return &node[K, V]{key: key, value: value, size: 1, owner: tok}
	}
	n = own(tok, n)
	switch c := t.compare(key, n.key); {
	case c == 0:
		n.key, n.value = key, value
		return n
	case c < 0:
		n.left = t.setAt(tok, n.left, key, value)
	default:
		n.right = t.setAt(tok, n.right, key, value)
	}
	return balance(tok, n)
}

// delete removes key if it is there.
func (t *tree[K, V]) delete(tok *token, key K) {
	if _, ok := t.get(key); ok {
		t.root = t.deleteAt(tok, t.root, key)
	}
}

func (t *tree[K, V]) deleteAt(tok *token, n *node[K, V], key K) *node[K, V] {
	c := t.compare(key, n.key)
	if c == 0 {
		if n.left == nil {
			return n.right
		}
		if n.right == nil {
			return n.left
		}
		n = own(tok, n)
		first := n.right
		for first.left != nil {
			first = first.left
		}
		n.key, n.value = first.key, first.value
		n.right = t.deleteAt(tok, n.right, first.key)
		return balance(tok, n)
	}
	n = own(tok, n)
	if c < 0 {
		n.left = t.deleteAt(tok, n.left, key)
	} else {
		n.right = t.deleteAt(tok, n.right, key)
	}
	return balance(tok, n)
}

// own returns a node that the edit may change: n itself if it made it.
func own[K, V any](tok *token, n *node[K, V]) *node[K, V] {
	if tok != nil && n.owner == tok {
		return n
	}
	c := *n
	c.owner = tok
	return &c
}

// balance restores the weights of n, which the edit owns, after one of its
// sides grew or shrank by one.
func balance[K, V any](tok *token, n *node[K, V]) *node[K, V] {
	l, r := size(n.left)+1, size(n.right)+1
	switch {
	case l+r <= 3:
	case r > weightDelta*l:
		n.right = own(tok, n.right)
		if size(n.right.left)+1 >= weightGamma*(size(n.right.right)+1) {
			n.right = rotateRight(tok, n.right)
		}
		return rotateLeft(tok, n)
	case l > weightDelta*r:
		n.left = own(tok, n.left)
		if size(n.left.right)+1 >= weightGamma*(size(n.left.left)+1) {
			n.left = rotateLeft(tok, n.left)
		}
		return rotateRight(tok, n)
	}
	n.size = size(n.left) + size(n.right) + 1
	return n
}

func rotateLeft[K, V any](tok *token, n *node[K, V]) *node[K, V] {
	up := own(tok, n.right)
	n.right, up.left = up.left, n
	n.size = size(n.left) + size(n.right) + 1
	up.size = size(up.left) + size(up.right) + 1
	return up
}

func rotateRight[K, V any](tok *token, n *node[K, V]) *node[K, V] {
	up := own(tok, n.left)
	n.left, up.right = up.right, n
	n.size = size(n.left) + size(n.right) + 1
	up.size = size(up.left) + size(up.right) + 1
	return up
}

// all walks in ascending order.
func (t tree[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { walk(t.root, yield) }
}

func walk[K, V any](n *node[K, V], yield func(K, V) bool) bool {
	return n == nil || walk(n.left, yield) && yield(n.key, n.value) && walk(n.right, yield)
}

// values is all without the keys.
func (t tree[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		walk(t.root, func(_ K, v V) bool { return yield(v) })
	}
}

// from walks in ascending order over the keys that are not below key.
func (t tree[K, V]) from(key K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.walkFrom(t.root, key, yield) }
}

func (t tree[K, V]) walkFrom(n *node[K, V], key K, yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	if t.compare(n.key, key) < 0 {
		return t.walkFrom(n.right, key, yield)
	}
	return t.walkFrom(n.left, key, yield) && yield(n.key, n.value) && walk(n.right, yield)
}
