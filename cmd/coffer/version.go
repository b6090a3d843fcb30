package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/release"
)

// about is what this program is.
type about struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	PKCS11   string `json:"pkcs11"`
}

func versionOf() about {
	v := about{release.Name(), "", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, "3.2"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return v
}

// shownRevision is how many characters of a revision people are shown.
const shownRevision = 12

func (v about) String() string {
	name := "coffer " + v.Version
	if v.Revision != "" {
		name += " " + v.Revision[:min(shownRevision, len(v.Revision))]
	}
	return fmt.Sprintf("%s (PKCS #11 %s, %s, %s)", name, v.PKCS11, v.Go, v.Platform)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version",
		Example: "  coffer version\n  coffer version --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := versionOf()
			return a.emit(v, func(w io.Writer) { fmt.Fprintln(w, v) })
		},
	}
}
