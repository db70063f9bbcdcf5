// SPDX-License-Identifier: Apache-2.0

package codec

import "testing"

func TestEveryNameHasACodecOfItsOwn(t *testing.T) {
	seen := map[any]string{}
	for _, name := range Names() {
		c, ok := Of(name)
		if !ok {
			t.Errorf("%s is not known", name)
		}
		if other, taken := seen[c]; taken {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[c] = name
	}
	for _, name := range []string{"", "uncompressed", "ZSTD", "brotli"} {
		if _, ok := Of(name); ok {
			t.Errorf("%q was taken", name)
		}
	}
}
