package place

import "testing"

func TestLines(t *testing.T) {
	lines := Of([]byte(`spawner:
  volumes:
    - name: a
    - &second
      name: b
hubs:
  a.b:
    spawner: {image: x}
  a:
    b: {spawner: 1}
  c: *second
`))
	for key, want := range map[string]int{
		"spawner": 1, "spawner.volumes": 2, "spawner.volumes[0].name": 3, "spawner.volumes[1].name": 5,
		"spawner.volumes[2].name": 2, "spawner.nothing": 1, "hubs.a.b.spawner.image": 8, "hubs.a.c": 9,
		"hubs.c.name": 5, "nothing": 0, "": 0, "spawners": 0,
	} {
		if got := lines.Of(key); got != want {
			t.Errorf("%s: line %d, want %d", key, got, want)
		}
	}
	for _, text := range []string{"", "a: [", "# nothing", "text"} {
		if got := Of([]byte(text)).Of("a"); got != 0 {
			t.Errorf("%q: line %d", text, got)
		}
	}
	if got := (Lines{}).Of("a"); got != 0 {
		t.Errorf("line %d of nothing", got)
	}
}
