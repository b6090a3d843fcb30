package engine

import (
	"errors"

	"github.com/coffer-hsm/coffer/core/hsm"
)

var _ hsm.Counter = (*Engine)(nil)

// Counts tells how much there is, as far as this process can know without asking others.
func (e *Engine) Counts() hsm.Counts {
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		e.log(err)
	}
	n := hsm.Counts{TokenObjects: e.objects.Len()}
	if e.node != nil {
		n.SessionObjects = e.node.sessions.len()
	}
	if v := e.view.Load(); v != nil {
		for _, u := range v.users {
			if u.user == nil {
				continue
			}
			n.Users++
			if u.user.Locked() {
				n.Locked++
			}
		}
	}
	return n
}
