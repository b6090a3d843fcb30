package main

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shells are those that can complete the command line, and what writes their script.
var shells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
}

func (a *app) completionCommand() *cobra.Command {
	names := slices.Sorted(maps.Keys(shells))
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script by which a shell completes commands and flags",
		Long:  "SHELL is " + strings.Join(names, ", ") + `. "make install" puts the scripts where the shells look.`,
		Example: `  . <(coffer completion bash)
  coffer completion zsh > ~/.zfunc/_coffer`,
		Args:      arguments(1, 1, "a SHELL"),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := shells[args[0]]
			if !ok {
				return usage("%q is no shell that can be completed for", "known are "+strings.Join(names, ", "), args[0])
			}
			return write(cmd.Root(), a.out)
		},
	}
}
