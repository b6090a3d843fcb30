package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

// The collector lets the heap grow by a part of what is live before it runs again. Once over is right for a node with few
// keys, whose heap is small and whose requests make garbage; with many keys most of the heap is records that stay, and the
// same again would lie idle.
const (
	usualRoom = 100 // percent
	thriftily = 35
	manyBytes = 96 << 20 // of live heap
)

// room is the collector's percentage for that many bytes of live heap.
func room(live uint64) int {
	if live < manyBytes {
		return usualRoom
	}
	return thriftily
}

// collectBySize sets the collector by what is live now. An operator's GOGC counts more.
func collectBySize() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 {
		debug.SetGCPercent(room(live[0].Value.Uint64()))
	}
}

// collectThriftily sets the collector for reading all records at the start.
func collectThriftily() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(thriftily)
	}
}
