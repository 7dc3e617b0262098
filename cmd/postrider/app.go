package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/configs"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// The exit codes, which are a contract.
const (
	exitDone    = 0 // done as asked
	exitFailed  = 1
	exitUsage   = 2 // wrong usage
	exitRefused = 3 // finished, but some recipients were refused by the provider
	exitStopped = 4 // stopped short: paused, cancelled, budget
)

// Main is the whole program. Tests run it as the shell does.
type Main struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            []string
	Dir            string // working directory; empty is the process's own
	Version        string
	// Terminal says that a person sits at Stdin and Stderr; found out when nil.
	Terminal *bool
	// Interrupts delivers Ctrl-C and SIGTERM; nil for none.
	Interrupts <-chan os.Signal
	// Exit ends the process at once, at the second Ctrl-C.
	Exit func(code int)

	// atInterrupt is what the command under way says at Ctrl-C; nil: nothing of
	// it is in flight.
	atInterrupt atomic.Pointer[farewell]

	cfg      *configs.Config
	json     bool
	exitCode int
	actor    string
}

// interrupts subscribes to Ctrl-C and SIGTERM.
func interrupts() <-chan os.Signal {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

// usageError is a mistake in how the command was called: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// stopError ends the command with exit code 4 and a word why.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func stopf(format string, args ...any) error {
	return &stopError{fmt.Errorf(format, args...)}
}

// Run runs the command line and returns the exit code.
func (m *Main) Run(ctx context.Context, args []string) int {
	ctx, stop := m.withInterrupts(ctx)
	defer stop()
	root := m.rootCommand()
	root.SetArgs(args)
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return m.exitCode
	}
	code := exitFailed
	var ue *usageError
	var se *stopError
	var oe *jobs.OrderError
	switch {
	case errors.As(err, &ue), errors.As(err, &oe), strings.HasPrefix(err.Error(), "unknown command"):
		code = exitUsage
	case errors.As(err, &se):
		code = exitStopped
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err, code = errors.New("interrupted"), exitStopped
	}
	if m.json {
		_ = json.NewEncoder(m.Stdout).Encode(errorOf(err, code))
	}
	fmt.Fprintln(m.Stderr, "postrider: "+err.Error())
	return code
}

// errorJSON is what --json prints of an error.
type errorJSON struct {
	Error string `json:"error"` // for people
	Code  string `json:"code"`  // for programs: usage, stopped, provider, or a campaign.Code
	// Campaign is the campaign that stands in the way, when a send is refused
	// because the same was sent already.
	Campaign int64 `json:"campaign,omitempty"`
}

func errorOf(err error, exit int) errorJSON {
	out := errorJSON{Error: err.Error(), Code: string(campaign.ErrorCode(err))}
	var same *ledger.SimilarError
	if errors.As(err, &same) {
		out.Campaign = same.ID
	}
	switch {
	case exit == exitUsage:
		out.Code = "usage"
	case exit == exitStopped:
		out.Code = "stopped"
	case clicksend.KindOf(err) != "":
		out.Code = "provider"
	case out.Code == string(campaign.CodeInternal) && isAway(err):
		out.Code = string(campaign.CodeUnavailable)
	}
	return out
}

// isAway reports whether a database or Redis server does not answer, or says
// that it takes nobody just now.
func isAway(err error) bool {
	var broken *net.OpError
	var noHost *net.DNSError
	var connecting *pgconn.ConnectError
	if errors.As(err, &broken) || errors.As(err, &noHost) || errors.As(err, &connecting) {
		return true
	}
	var refused *pgconn.PgError
	// 57P: the server stops or starts; 08: the connection broke; 53300: too many.
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "57P") || strings.HasPrefix(refused.Code, "08") || refused.Code == "53300")
}

// farewell is what is said at the first Ctrl-C, and at the second, which leaves
// at once. With a log, the first is left to the command, and the second goes
// there.
type farewell struct {
	first, second string
	log           *slog.Logger
}

// finishing is the first word of a command that has batches in flight.
const finishing = "stopping; what is in flight is finished and recorded first (Ctrl-C again leaves at once)"

func (f *farewell) say(w io.Writer, n int) {
	switch {
	case f == nil && n == 1:
		fmt.Fprintln(w, "\nstopping (Ctrl-C again leaves at once)")
	case f == nil:
		fmt.Fprintln(w, "\npostrider: left at once; the same command begins anew")
	case n == 1 && f.log == nil:
		fmt.Fprintln(w, "\n"+f.first)
	case n > 1 && f.log == nil:
		fmt.Fprintln(w, "\npostrider: "+f.second)
	case n > 1:
		f.log.Warn(f.second)
	}
}

// withInterrupts ends the context at the first Ctrl-C and the process at the
// second: what is in flight then is found out later, nothing is lost.
func (m *Main) withInterrupts(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case <-m.Interrupts:
			case <-done:
				return
			}
			m.atInterrupt.Load().say(m.Stderr, n)
			if n == 1 {
				cancel()
				continue
			}
			if m.Exit != nil {
				m.Exit(130)
			}
		}
	}()
	return ctx, func() { close(done); cancel() }
}

func (m *Main) rootCommand() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "postrider",
		Short: "Send bulk SMS, MMS, letters and postcards, nobody twice and nobody lost",
		Long: "Postrider loads an audience from a CSV file, says what a campaign costs, and sends it\n" +
			"through the ClickSend API. It knows what happened to every single recipient.\n\n" +
			"Try it without an account:  postrider demo",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: m.loadConfig,
		Annotations:       map[string]string{"config": "none"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return m.sayVersion()
			}
			return cmd.Help()
		},
	}
	root.Flags().BoolVar(&version, "version", false, "say which Postrider this is")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", plainFlagError(err), c.CommandPath())
	})
	configs.AddFlags(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&m.json, "json", false, "print one JSON object on stdout, and nothing else there")
	root.AddCommand(m.sendCommand(), m.demoCommand(), m.listCommand(), m.campaignCommand(), m.addressCommand(), m.scheduleCommand(), m.optoutCommand(),
		m.serveCommand(), m.workerCommand(), m.schedulerCommand(), m.webCommand(), m.sandboxCommand(),
		m.backupCommand(), m.restoreCommand(), m.auditCommand(), m.doctorCommand(), m.versionCommand())
	return root
}

// plainFlagError says in plain words what is wrong with a flag's value.
func plainFlagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	what := ""
	switch bad.GetFlag().Value.Type() {
	case "int", "int64", "uint64":
		what = "a whole number"
	case "float64":
		what = "a number"
	case "duration":
		what = "a span of time such as 90s"
	case "bool":
		what = "true or false"
	default:
		return err
	}
	return fmt.Errorf("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), what)
}

// exactArgs asks for n arguments and says what they are.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			hint := ""
			if body := c.Flags().Lookup("body"); body != nil && body.Changed {
				hint = ": put the whole text of --body in quotes"
			}
			return usagef("%s needs %s, and was given %s%s", c.CommandPath(), what, plural(len(args), "argument"), hint)
		}
		return nil
	}
}

func (m *Main) loadConfig(cmd *cobra.Command, _ []string) error {
	if c := cmd.Annotations["config"]; c == "none" {
		return nil
	}
	cfg, err := configs.Load(configs.LoadOptions{Env: m.Env, Flags: cmd.Flags(), Dir: m.Dir})
	if err != nil {
		return &usageError{err}
	}
	if f := cmd.Flags().Lookup("country"); f != nil && f.Changed && cfg.Country != "" {
		if _, ok := importer.CountryCode(cfg.Country); !ok {
			return usagef("--country: there is no country %q: give its code of two letters, such as --country AU", cfg.Country)
		}
	}
	m.cfg = cfg
	return nil
}

// who is recorded with what is done: the login name.
func (m *Main) who() string {
	if m.actor == "" {
		m.actor = "somebody"
		if u, err := user.Current(); err == nil && u.Username != "" {
			m.actor = u.Username
		}
	}
	return m.actor
}

// atTerminal reports whether a person can be asked.
func (m *Main) atTerminal() bool {
	if m.Terminal != nil {
		return *m.Terminal
	}
	in, ok := m.Stdin.(*os.File)
	out, ok2 := m.Stderr.(*os.File)
	return ok && ok2 && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// path resolves a path that the user gave against the working directory.
func (m *Main) path(p string) string {
	if m.Dir == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(m.Dir, p)
}

// log writes to stderr in the configured form.
func (m *Main) log() *slog.Logger { return m.logTo(m.Stderr) }

func (m *Main) logTo(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: m.cfg.LogLevel}
	if m.cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// openLedger opens the configured database.
func (m *Main) openLedger(ctx context.Context) (*ledger.Ledger, error) {
	return ledger.Open(ctx, m.cfg.DatabaseURL.Reveal(), ledger.Options{FileDir: m.cfg.FilesDir})
}

// openProvider makes the account of the configured credentials. The limiter is
// shared through Redis where there is one.
func (m *Main) openProvider(l *ledger.Ledger, limiter *ratelimit.Limiter) (*jobs.Provider, error) {
	name, key, err := m.cfg.Credentials()
	if err != nil {
		return nil, campaign.Errorf(campaign.CodeConfig, "%w", err)
	}
	return jobs.NewProvider(jobs.ProviderConfig{
		Client: clicksend.Config{
			BaseURL: m.cfg.ClickSendBaseURL, Username: name, APIKey: key.Reveal(),
			Timeout: m.cfg.HTTPTimeout, UserAgent: "postrider/" + m.Version,
		},
		Limiter: limiter, Files: l,
	})
}

func (m *Main) rateOptions() ratelimit.Options {
	return ratelimit.Options{Rate: m.cfg.Rate, FixedRate: m.cfg.RateFixed, Messages: m.cfg.MessagesRate}
}

// printJSON writes the one object of --json.
func (m *Main) printJSON(v any) error {
	enc := json.NewEncoder(m.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say writes a line of prose: to stdout, or to stderr when stdout belongs to
// --json.
func (m *Main) say(format string, args ...any) {
	w := m.Stdout
	if m.json {
		w = m.Stderr
	}
	fmt.Fprintf(w, format+"\n", args...)
}
