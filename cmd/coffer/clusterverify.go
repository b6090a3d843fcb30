package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/remote"
)

// How long cluster verify waits: for a node, and, while the token is changed, for answers that are of the same revision.
const (
	digestWithin  = 10 * time.Second
	compareWithin = 2 * time.Second
	compareEvery  = 50 * time.Millisecond
)

// nodeDigest is what one node holds in memory, in short.
type nodeDigest struct {
	Node     string `json:"node"`
	Objects  uint64 `json:"objects"`
	Revision int64  `json:"revision"`
	Sum      string `json:"sum"`
	Error    string `json:"error,omitempty"`
}

// nodeCopy is what a node holds, as *client.Client asks for it.
type nodeCopy interface {
	Digest(context.Context) (sum []byte, objects uint64, revision int64, err error)
	// Observe has the answers from then on be of this revision or a later one.
	Observe(revision int64)
}

// agreement is what is known of the nodes' copies.
type agreement int

const (
	undecided agreement = iota // no two answers of one revision differ, and no answer is everybody's
	same
	different
)

func (a *app) clusterVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Compare the copies that the nodes hold",
		Long: `Asks each of the slot's nodes for a digest of all objects that it holds, and compares those of the same revision. How many are
private is told to nobody who has not logged in, so the public ones are counted. The exit code is 1 where the digests differ or
a node cannot be reached, and 6 where the token is changed all the while, so that no answers are of the same revision.`,
		Example: "  coffer cluster verify",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atCluster(func(t *token, c *client.Client) error { return a.verifyCopies(cmd.Context(), t, c) })
		},
	}
}

func (a *app) verifyCopies(ctx context.Context, t *token, c *client.Client) error {
	slot := t.slot
	if len(slot.Nodes) == 0 {
		return usage("a socket reaches one node only", "name a slot with nodes")
	}
	list, err := c.Members(ctx)
	if err != nil {
		return err
	}
	slot.Nodes = nil
	var names []string
	for _, m := range list.GetMembers() {
		slot.Nodes, names = append(slot.Nodes, m.GetAddress()), append(names, m.GetName())
	}
	slot.Timeout = min(slot.Timeout, digestWithin)
	copies, broken := make([]nodeCopy, len(names)), make([]error, len(names))
	var opening sync.WaitGroup
	for i := range names {
		opening.Go(func() {
			one, err := remote.OpenNode(slot, i, nil)
			if err != nil {
				broken[i] = err
				return
			}
			copies[i] = one
		})
	}
	opening.Wait()
	for _, one := range copies {
		if one, ok := one.(*client.Client); ok {
			defer one.Close()
		}
	}
	x := newComparison(names)
	for i, err := range broken {
		if err != nil {
			x.digests[i].Error = explain(err).text
		}
	}
	return a.emitComparison(x, x.run(ctx, copies, compareWithin))
}

// emitComparison prints what was answered, and returns what is to be said of it.
func (a *app) emitComparison(x *comparison, v agreement) error {
	unasked := x.unasked()
	err := a.emit(map[string]any{"same": v == same && unasked == "", "compared": v != undecided && unasked == "", "nodes": x.digests}, func(w io.Writer) {
		var rows [][]string
		for _, d := range x.digests {
			rows = append(rows, []string{d.Node, fmt.Sprint(d.Objects), fmt.Sprint(d.Revision), d.Sum[:min(16, len(d.Sum))], d.Error})
		}
		table(w, []string{"NODE", "PUBLIC OBJECTS", "REVISION", "DIGEST", "PROBLEM"}, rows)
	})
	switch {
	case err != nil:
		return err
	case v == different:
		return failed("the copies are not the same: nodes differ at the same revision", "their logs may say why; restart the node that differs, then: coffer cluster replace NODE")
	case unasked != "":
		return failed("node %s could not be asked", "coffer cluster status tells how it is", unasked)
	case v == undecided:
		return &problem{text: "the copies could not be compared: the token is being changed, or a node does not follow",
			hint: "try again when less is changed; coffer cluster status tells how far each node is", code: exitChanging}
	}
	return nil
}

// comparison is of what nodes have answered, each maybe several times. An answer has the hash of each object with its revision,
// so that equal ones tell of equal objects whatever the revision is; unequal ones tell of a difference only at the same one.
type comparison struct {
	digests []nodeDigest                  // the last answers, or those that decide
	bySum   map[string]map[int]nodeDigest // all answers, by sum and node
	at      map[int64]nodeAnswer          // for each revision the first answer
	differ  []nodeAnswer                  // two of one revision that differ; mostly none
	latest  int64
}

// nodeAnswer is an answer of the node with that number.
type nodeAnswer struct {
	node   int
	digest nodeDigest
}

func newComparison(names []string) *comparison {
	x := &comparison{digests: make([]nodeDigest, len(names)), bySum: map[string]map[int]nodeDigest{}, at: map[int64]nodeAnswer{}}
	for i, name := range names {
		x.digests[i].Node = name
	}
	return x
}

// run asks until it is decided, or for so long after everybody was asked once. A copy that is nil is not asked.
func (x *comparison) run(ctx context.Context, copies []nodeCopy, within time.Duration) agreement {
	v := x.ask(ctx, copies)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for v == undecided {
		select {
		case <-ctx.Done():
			return v
		case <-time.After(compareEvery):
		}
		for _, c := range copies {
			if c != nil {
				c.Observe(x.latest)
			}
		}
		v = x.ask(ctx, copies)
	}
	return v
}

// ask asks all of them at the same time, once.
func (x *comparison) ask(ctx context.Context, copies []nodeCopy) agreement {
	answers, errs := make([]nodeDigest, len(copies)), make([]error, len(copies))
	var asking sync.WaitGroup
	for i, c := range copies {
		if c == nil || x.digests[i].Error != "" {
			continue
		}
		asking.Go(func() {
			sum, objects, revision, err := c.Digest(ctx)
			answers[i], errs[i] = nodeDigest{x.digests[i].Node, objects, revision, hex.EncodeToString(sum), ""}, err
		})
	}
	asking.Wait()
	for i, d := range answers {
		switch {
		case d.Node == "":
		case errs[i] == nil:
			x.take(i, d)
		case x.digests[i].Sum == "": // who has answered once, and not again in time, is there
			x.digests[i].Error = explain(errs[i]).text
		}
	}
	if len(x.differ) > 0 {
		for _, a := range x.differ {
			x.digests[a.node] = a.digest
		}
		return different
	}
	return x.agreed()
}

// take finds out whether another answer was otherwise for the same revision.
func (x *comparison) take(i int, d nodeDigest) {
	x.latest = max(x.latest, d.Revision)
	x.digests[i] = d
	if x.bySum[d.Sum] == nil {
		x.bySum[d.Sum] = map[int]nodeDigest{}
	}
	x.bySum[d.Sum][i] = d
	first, there := x.at[d.Revision]
	if !there {
		x.at[d.Revision] = nodeAnswer{i, d}
	} else if first.digest.Sum != d.Sum {
		x.differ = []nodeAnswer{first, {i, d}}
	}
}

// agreed returns same where all that can be asked have given one sum.
func (x *comparison) agreed() agreement {
	asked := 0
	for _, d := range x.digests {
		if d.Error == "" {
			asked++
		}
	}
	if asked == 0 {
		return same
	}
	for _, nodes := range x.bySum {
		if len(nodes) == asked {
			for i, d := range nodes {
				x.digests[i] = d
			}
			return same
		}
	}
	return undecided
}

// unasked names a node that could not be asked; empty: all could.
func (x *comparison) unasked() string {
	for _, d := range x.digests {
		if d.Error != "" {
			return d.Node
		}
	}
	return ""
}
