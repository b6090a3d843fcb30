package main

import (
	"os"
	"runtime"
	"strings"
)

// benchMachine is where the figures hold.
type benchMachine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Kernel     string `json:"kernel"`
	Load       string `json:"load"` // the load averages at the start: an honest run has an idle machine
}

func thisMachine() benchMachine {
	return benchMachine{Processor: processorName(), Processors: runtime.NumCPU(),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Load: firstLine("/proc/loadavg")}
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

func processorName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// fileSystem names the kind of file system that a directory is on: on tmpfs nothing is durable, and fast therefore.
func fileSystem(dir string) string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	kind, longest := "unknown", -1
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(line, " - ") // proc(5): mount point is field 5, the kind follows the hyphen
		f, k := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(k) < 1 {
			continue
		}
		under := strings.TrimSuffix(f[4], "/") + "/"
		if strings.HasPrefix(dir+"/", under) && len(under) > longest {
			kind, longest = k[0], len(under)
		}
	}
	return kind
}
