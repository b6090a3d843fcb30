package client

import (
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// A node that is stopped, or behind a network that swallows everything, closes nothing: only its silence tells. While
// requests wait, a ping follows a time without a reply; a node that does not answer that is a suspect, and its requests
// go elsewhere. The stream stays for a while, because the node may only have been slow.
const (
	pingAfter   = 100 * time.Millisecond
	pongWithin  = 300 * time.Millisecond
	silentLimit = 5 * time.Second // then the stream is closed and made again
	idlePing    = 10 * time.Second
)

// So many bytes within pongWithin are a sign of life: a large message is on its way in or out, and a ping's answer waits
// behind it. Fewer may be the transport's own.
const (
	inboundProgress  = 4 << 10
	outboundProgress = 64 << 10
)

// watch is the state of the watching of one stream, guarded by the stream's mu.
type watch struct {
	timer   *time.Timer
	running bool
	ended   bool
	since   int64 // when the first of those who wait began to
	pinged  int64 // when a ping was sent that nothing has followed; 0: none
	in, out int64 // traffic at that time
}

func (w *watch) stop() {
	w.ended = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// watchLocked begins watching. The caller holds mu.
func (x *conn) watchLocked(now int64) {
	w := &x.watch
	w.since = now
	if w.running {
		return
	}
	w.running = true
	w.schedule(pingAfter, x.look)
}

func (w *watch) schedule(d time.Duration, f func()) {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, f)
		return
	}
	w.timer.Reset(d)
}

// look sees whether the node is alive.
func (x *conn) look() {
	now := x.client.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	w := &x.watch
	if w.ended {
		return
	}
	if len(x.pending) == 0 && !x.node.suspect.Load() {
		w.running, w.pinged = false, 0
		return
	}
	if w.pinged != 0 && (x.heard.Load() > w.pinged || w.progress(&x.traffic)) {
		w.pinged = 0
		w.since = now
	}
	quiet := time.Duration(now - max(x.heard.Load(), w.since))
	switch {
	case w.pinged == 0 && quiet < pingAfter:
		w.schedule(pingAfter-quiet, x.look)
	case w.pinged == 0:
		w.pinged, w.in, w.out = now, x.traffic.in.Load(), x.traffic.out.Load()
		x.pingLocked()
		w.schedule(pongWithin, x.look)
	case time.Duration(now-w.pinged) < pongWithin:
		w.schedule(pongWithin-time.Duration(now-w.pinged), x.look)
	case time.Duration(now-w.pinged) < silentLimit:
		go x.suspected()
		w.schedule(pingAfter, x.look)
	default:
		x.cancel()
	}
}

func (w *watch) progress(t *traffic) bool {
	return t.in.Load()-w.in >= inboundProgress || t.out.Load()-w.out >= outboundProgress
}

func (x *conn) pingLocked() {
	if f, err := x.encode(&wire.Request{Body: &wire.Request_Ping{Ping: &wire.Ping{}}}, 0); err == nil {
		x.enqueueLocked(f)
	}
}

// suspected sends those who wait elsewhere, if there is an elsewhere.
func (x *conn) suspected() {
	n := x.node
	if n.conn.Load() != x {
		return
	}
	if !n.suspect.Swap(true) {
		n.failed(errSilent)
		x.client.change()
	}
	if x.client.otherThan(n) {
		x.giveUp(errSilent)
	}
}

// idle pings now and then while nothing is asked, so that a dead connection is found before it is needed, and so that
// news of the cluster come in. It returns when the stream has ended.
func (x *conn) idle() {
	t := time.NewTicker(idlePing)
	defer t.Stop()
	asked, in, out := int64(0), int64(0), int64(0)
	for {
		select {
		case <-x.done:
			return
		case <-t.C:
		}
		was, sent := in, out
		in, out = x.traffic.in.Load(), x.traffic.out.Load()
		if asked != 0 && x.heard.Load() < asked {
			if in == was && out == sent { // else a long message is on its way
				x.cancel()
			}
			continue
		}
		asked = x.client.now()
		x.tell(&wire.Request{Body: &wire.Request_Ping{Ping: &wire.Ping{}}})
	}
}
