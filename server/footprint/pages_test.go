package footprint

import "testing"

func TestReadOnlyPages(t *testing.T) {
	for _, c := range []struct {
		name, line string
		begin, end uintptr
		ok         bool
	}{
		{"text", "00400000-01a00000 r-xp 00000000 fd:01 1234 /usr/local/bin/outpost", 0x400000, 0x1a00000, true},
		{"constants", "01a00000-02a00000 r--p 01600000 fd:01 1234 /usr/local/bin/outpost", 0x1a00000, 0x2a00000, true},
		{"variables", "02a00000-02b00000 rw-p 02600000 fd:01 1234 /usr/local/bin/outpost", 0, 0, false},
		{"another file", "00400000-01a00000 r-xp 00000000 fd:01 1234 /lib/x", 0, 0, false},
		{"heap", "c000000000-c000400000 rw-p 00000000 00:00 0", 0, 0, false},
		{"guard", "00400000-01a00000 ---p 00000000 fd:01 1234 /usr/local/bin/outpost", 0, 0, false},
		{"nonsense", "x-y r-xp 0 0 0 /usr/local/bin/outpost", 0, 0, false},
		{"backwards", "01a00000-00400000 r-xp 0 0 0 /usr/local/bin/outpost", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin, end, ok := readOnlyPages(c.line, "/usr/local/bin/outpost")
			if begin != c.begin || end != c.end || ok != c.ok {
				t.Errorf("got %x, %x, %v, want %x, %x, %v", begin, end, ok, c.begin, c.end, c.ok)
			}
		})
	}
}
