package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/config"
)

// The doctor's look at a token behind nodes.

func (d *doctor) remote(ctx context.Context, slot config.Slot) {
	t, err := d.app.openSlot(slot)
	if err != nil {
		p := explain(err)
		d.say("nodes", verdictFail, p.text, p.hint)
		return
	}
	defer t.close()
	c, ok := t.HSM.(*client.Client)
	if !ok {
		return
	}
	status, err := c.Status(ctx, t.cred)
	if err != nil {
		p := explain(err)
		d.say("nodes", verdictFail, p.text, "check that cofferd runs there and that the network lets this machine through: "+slot.Place())
		return
	}
	alive := 0
	for _, m := range status.GetMembers() {
		if m.GetMember().GetAlive() {
			alive++
			continue
		}
		d.say("node "+m.GetMember().GetName(), verdictFail, "it is "+m.GetState(), "start cofferd there, or: coffer cluster remove "+m.GetMember().GetId())
	}
	switch {
	case !status.GetQuorum():
		d.say("cluster", verdictFail, "there is no quorum: keys can be used, and nothing can be changed", "start the nodes that are down; if they are lost: coffer cluster recover")
	case len(status.GetMembers()) == 2:
		d.say("cluster", verdictWarn, "two nodes: when one is down, nothing can be changed", "three nodes go on when one is down: coffer cluster invite")
	default:
		d.say("cluster", verdictOK, fmt.Sprintf("%d of %s alive, %d vote", alive, strings.TrimSpace(count(len(status.GetMembers()), "node")), status.GetVoters()), "")
	}
	d.state(ctx, slot)
}
