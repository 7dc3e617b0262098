package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// refuseQuarantined is the error of a command that would let messages leave a
// quarantined ledger; nil when there is no quarantine.
func refuseQuarantined(ctx context.Context, l *ledger.Ledger) error {
	q, err := l.Quarantine(ctx)
	if err != nil {
		return err
	}
	return q.Err()
}

// backupJSON is what `backup --json` prints.
type backupJSON struct {
	File     string    `json:"file"`
	Kind     string    `json:"kind"` // sqlite or postgres
	Bytes    int64     `json:"bytes"`
	Taken    time.Time `json:"taken"`
	FilesDir string    `json:"files_dir,omitempty"` // the shared folder of files, which is not in the backup
}

func (m *Main) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the ledger into a file, while it is in use",
		Long: "Copies the whole ledger, every campaign and contact in it, into a new file that only you may\n" +
			"read. Campaigns may be sent meanwhile. A PostgreSQL ledger is copied by pg_dump, which must be\n" +
			"installed. `postrider restore` is the way back.",
		Args: exactArgs(1, "the file to write"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.backup(cmd.Context(), args[0]) },
	}
}

func (m *Main) backup(ctx context.Context, file string) error {
	path := m.path(file)
	b, err := ledger.MakeBackup(ctx, m.cfg.DatabaseURL.Reveal(), path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the backup: %w", err)
	}
	m.warnFilesDir("is not in the backup: back it up as well")
	if m.json {
		return m.printJSON(backupJSON{File: path, Kind: b.Kind, Bytes: info.Size(), Taken: b.Taken, FilesDir: m.cfg.FilesDir})
	}
	m.say("the ledger is in %s (%s kB): it holds personal data, keep it as safe as the ledger", file, number(int((info.Size()+1023)/1024)))
	return nil
}

// warnFilesDir reminds of the folder that lies beside the ledger.
func (m *Main) warnFilesDir(what string) {
	if m.cfg.FilesDir != "" {
		fmt.Fprintf(m.Stderr, "postrider: the folder of the plans' files (files_dir, %s) %s\n", m.cfg.FilesDir, what)
	}
}

// restoreJSON is what `restore --json` prints.
type restoreJSON struct {
	Ledger     string    `json:"ledger"` // its id, until the quarantine is lifted
	Taken      time.Time `json:"taken"`  // when the backup was made
	Campaigns  int       `json:"campaigns"`
	OptOuts    int       `json:"opt_outs"` // of before the backup
	Quarantine string    `json:"quarantine"`
	Replaced   string    `json:"replaced,omitempty"`  // where the ledger lies that was there before
	FilesDir   string    `json:"files_dir,omitempty"` // the shared folder of files, which was not in the backup
}

func (m *Main) restoreCommand() *cobra.Command {
	var force, yes bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make the ledger from a backup; it sends nothing until it was audited",
		Long: "Makes the configured ledger from a backup. There must be none yet, or an empty one; with --force\n" +
			"a SQLite ledger that is there is put aside, under another name.\n\n" +
			"A restored ledger does not know what was sent after the backup. It is quarantined: nothing leaves\n" +
			"before `postrider audit --repair` has adopted what the provider's history shows.",
		Args: exactArgs(1, "the backup's file"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.restore(cmd.Context(), args[0], force, yes) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "put a SQLite ledger that is there aside")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, with --force")
	return cmd
}

func (m *Main) restore(ctx context.Context, file string, force, yes bool) error {
	switch {
	case yes && !force:
		return usagef("--yes answers what --force asks: leave it out")
	case force && m.cfg.UsesPostgres():
		return usagef("--force puts a SQLite file aside: make an empty database (createdb) and name it in POSTRIDER_DATABASE_URL; the old one stays as it is")
	case force && !yes && !m.atTerminal():
		return usagef("there is no terminal to ask for a yes: add --yes to put the ledger that is there aside")
	}
	path, target := m.path(file), m.cfg.DatabaseURL.Reveal()
	b, err := ledger.ReadBackup(ctx, path)
	if err != nil {
		return err
	}
	release, err := m.keepEngineOut(ctx)
	if err != nil {
		return err
	}
	defer release()
	there, err := ledger.Inspect(ctx, target)
	if err != nil {
		return err
	}
	if force && !there.Empty() && !yes {
		question := fmt.Sprintf("There is a ledger with %s. Put it aside, and restore the one of %s?", there, b.Taken.Format(time.RFC3339))
		if ok, err := m.ask(ctx, question); err != nil {
			return err
		} else if !ok {
			return stopf("not restored: nobody said yes")
		}
	}
	r, err := ledger.Restore(ctx, target, path, force)
	if err != nil {
		return err
	}
	m.warnFilesDir("was not in the backup: restore it as well, or letters and postcards that are still to leave pause")
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	q, err := l.Quarantine(ctx)
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	if m.json {
		return m.printJSON(restoreJSON{r.Ledger, b.Taken, r.Campaigns, r.OptOuts, q.Reason, r.Replaced, m.cfg.FilesDir})
	}
	m.say("the ledger of %s is restored, with %s", b.Taken.Format(time.RFC3339), plural(r.Campaigns, "campaign"))
	m.say("its suppression list has the %s of before that: put a later `postrider optout export` on it with `postrider optout import`", plural(r.OptOuts, "opt-out"))
	if r.Replaced != "" {
		m.say("the one that was there is %s now", r.Replaced)
	}
	m.say("%v", q.Err())
	return nil
}

// keepEngineOut holds the lock of the embedded engine, so that none starts
// while the ledger is being replaced. With a Redis there is no such lock: there
// a restore fails as long as anybody uses the ledger.
func (m *Main) keepEngineOut(ctx context.Context) (release func(), err error) {
	if !m.cfg.UsesEmbeddedRedis() {
		return func() {}, nil
	}
	if err := os.MkdirAll(m.cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	lock := m.lockFile("engine.lock")
	got, err := tryLock(ctx, lock)
	if err != nil {
		return nil, fmt.Errorf("taking engine.lock in the data folder: %w", err)
	}
	if !got {
		return nil, campaign.Errorf(campaign.CodeConflict, "a Postrider process is sending on the data folder %s: stop it first; nothing was changed", m.cfg.DataDir)
	}
	return func() { lock.Unlock() }, nil //nolint:errcheck // the lock ends with the process in any case
}
