package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coffer-hsm/coffer/core/release"
)

// manualCommand prints coffer(1). It is for "make install"; people read what it has installed.
func (a *app) manualCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "manual",
		Short:   "Print the manual page",
		Long:    "The page is in the language of man(7) and says what --help of each command says.",
		Example: "  coffer manual | man -l -",
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeManual(a.out, cmd.Root()) },
	}
}

func writeManual(out io.Writer, root *cobra.Command) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, ".TH COFFER 1 \"\" \"Coffer %s\" \"User Commands\"\n", roff(release.Name()))
	fmt.Fprintf(w, ".SH NAME\ncoffer \\- %s\n", roff(root.Short))
	fmt.Fprint(w, ".SH SYNOPSIS\n.B coffer\nCOMMAND [flags]\n.SH DESCRIPTION\n")
	preformatted(w, root.Long)
	fmt.Fprint(w, ".SH FLAGS OF EVERY COMMAND\n")
	flagsOf(w, root.PersistentFlags())
	fmt.Fprint(w, ".SH COMMANDS\n")
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if c.HasSubCommands() {
				each(c)
				continue
			}
			if c.Hidden || c.Name() == "help" {
				continue
			}
			fmt.Fprintf(w, ".SS %s\n%s.\n", roff(strings.TrimPrefix(strings.TrimSuffix(c.UseLine(), " [flags]"), root.Name()+" ")), roff(c.Short))
			preformatted(w, c.Long)
			flagsOf(w, c.LocalNonPersistentFlags())
			preformatted(w, c.Example)
		}
	}
	each(root)
	fmt.Fprint(w, `.SH ENVIRONMENT
.TP
.BR COFFER_PIN ", " COFFER_SO_PIN ", " COFFER_NEW_PIN ", " COFFER_FROM_PIN
PINs, where neither a file nor a file descriptor is named.
.TP
.B COFFER_CONF
The configuration file.
.TP
.B COFFER_LOG
The file that the library writes its reasons to.
.SH FILES
.TP
.IR ~/.config/coffer/coffer.toml ", " /etc/coffer/coffer.toml
Which slots there are.
.TP
.IR ~/.local/share/coffer/token.db ", " /var/lib/coffer/token.db
The token of slot 0 where no configuration says otherwise; the second one is root's.
.SH SEE ALSO
.BR cofferd (8)
`)
	return w.Flush()
}

func flagsOf(w io.Writer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, what := pflag.UnquoteUsage(f)
		fmt.Fprintf(w, ".TP\n\\fB%s\\fR", roff("--"+f.Name))
		if value != "" {
			fmt.Fprintf(w, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(w, "\n%s\n", roff(what))
	})
}

// preformatted writes text whose lines are to stay as they are.
func preformatted(w io.Writer, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(text))
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff escapes what the formatter would take for its own.
func roff(text string) string {
	lines := strings.Split(roffEscapes.Replace(text), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
