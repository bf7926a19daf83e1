package flavor

import (
	"cmp"
	"slices"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
)

// Catalog returns what a user of a hub is offered, by falling weight, with its use; nil without configured flavors.
// The error is [ErrAuthentication].
func (f *Flavors) Catalog(hub string, authentication any, u Usage, user int) ([]catalog.Flavor, error) {
	c, err := f.ofUser(hub, authentication)
	if f == nil || err != nil {
		return nil, err
	}
	list := make([]catalog.Flavor, 0, len(c.names))
	slices.SortStableFunc(c.names, func(a, b string) int {
		return cmp.Compare(c.flavors[b].weight(), c.flavors[a].weight())
	})
	chosen := false
	for _, name := range c.names {
		a, err := c.admission(hub, name)
		if err != nil {
			return nil, err
		}
		entry := a.entry(u, user)
		if rule, denied := c.denied[name]; denied {
			entry.Denied = &rule.DeniedText
		} else if !chosen && a.Check(u, user, Limits{}) == nil {
			entry.Default, chosen = true, true
		}
		list = append(list, entry)
	}
	return list, nil
}

// entry returns the flavor as a form shows it.
func (a Admission) entry(u Usage, user int) catalog.Flavor {
	text := a.Flavor.inWords(a.name)
	e := catalog.Flavor{
		Name: text.Name, DisplayName: text.DisplayName, Description: text.Description,
		Use:  catalog.Use{Limit: a.Flavor.limitOrNil("max"), Used: u.ByFlavor[a.name]},
		User: catalog.Use{Limit: a.Flavor.limitOrNil("maxPerUser"), Used: u.ByUserFlavor[user][a.name]},
	}
	if e.Limit != nil {
		e.Used = a.used(u)
	}
	if a.Lifetime > 0 {
		e.Runtime = new(int(max(a.Lifetime/time.Second, 1)))
	}
	return e
}

func (f Flavor) text(key string) string {
	text, _ := f[key].(string)
	return text
}

// weight is 0 if the file gives none.
func (f Flavor) weight() float64 {
	switch n := f["weight"].(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// Text is a flavor in the words of a form.
type Text struct{ Name, DisplayName, Description string }

func (f Flavor) inWords(name string) Text {
	return Text{name, cmp.Or(f.text("display_name"), name), f.text("description")}
}

// Texts returns each flavor that some user of a hub may be offered, in the order of the file and in the words of the
// hub's offer: what groups decide is not asked. It is nil without configured flavors.
func (f *Flavors) Texts(hub string) []Text {
	if f == nil {
		return nil
	}
	ofHub, texts := f.ofHub(hub), []Text{}
	for _, name := range f.names {
		offered, ok := ofHub.flavors[name]
		if !ok {
			if !f.opens(hub, name) {
				continue
			}
			offered = f.base[name]
		}
		texts = append(texts, offered.inWords(name))
	}
	return texts
}

// opens reports whether the list of a user set offers a flavor to users of a hub, whatever the hub is offered itself.
func (f *Flavors) opens(hub, name string) bool {
	return slices.ContainsFunc(f.users, func(s userSet) bool {
		return s.isOf(hub) && !s.forbidden && slices.Contains(s.chosen, name)
	})
}
