package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/web"
)

func (m *Main) serveCommand() *cobra.Command {
	var dashboard bool
	cmd := &cobra.Command{
		Use: "serve", Args: exactArgs(0, "no arguments but flags"),
		Short: "Run everything in one process: queue, workers, scheduler",
		Long: "Run everything in one process: queue, workers and scheduler. On the embedded default\n" +
			"it needs no server at all; other commands hand it their campaigns.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.runRole(cmd.Context(), "serve", roles{worker: true, scheduler: true, runs: true}, dashboard)
		},
	}
	cmd.Flags().BoolVar(&dashboard, "dashboard", false, "also show the queue's dashboard at the configured listen address, behind web_password")
	return cmd
}

func (m *Main) workerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "worker", Args: exactArgs(0, "no arguments but flags"),
		Short: "Send batches; as many workers as wanted, on PostgreSQL and Redis",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.runRole(cmd.Context(), "worker", roles{worker: true}, false)
		},
	}
}

func (m *Main) schedulerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "scheduler", Args: exactArgs(0, "no arguments but flags"),
		Short: "Dispatch what the ledger says is due; any number may run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.runRole(cmd.Context(), "scheduler", roles{scheduler: true, runs: true}, false)
		},
	}
}

func (m *Main) webCommand() *cobra.Command {
	return &cobra.Command{
		Use: "web", Args: exactArgs(0, "no arguments but flags"),
		Short: "Show the queue's dashboard (asynqmon) behind a login",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.runRole(cmd.Context(), "web", roles{}, true)
		},
	}
}

// runRole runs parts of the engine until it is told to stop.
func (m *Main) runRole(ctx context.Context, name string, r roles, dashboard bool) error {
	log := m.log()
	if m.cfg.UsesEmbeddedRedis() && name != "serve" {
		return usagef("`postrider %s` needs a Redis that other processes can reach: set POSTRIDER_REDIS_URL, or run `postrider serve`", name)
	}
	if dashboard && !m.cfg.WebPassword.IsSet() {
		return usagef("the dashboard needs a password: set POSTRIDER_WEB_PASSWORD, or POSTRIDER_WEB_PASSWORD_FILE")
	}
	e, err := m.openQueue(ctx)
	if errors.Is(err, errEngineBusy) {
		return fmt.Errorf("another Postrider process already runs on the data folder %s: stop it first, or give this one its own --data-dir", m.cfg.DataDir)
	}
	if err != nil {
		return err
	}
	defer e.close()
	if n, err := jobs.DiscardOldPulls(m.cfg.DataDir, time.Now()); err != nil {
		log.Warn("what old pulls have read stays in the data folder", "error", err)
	} else if n > 0 {
		log.Info("discarded what interrupted pulls had read", "pulls", n)
	}
	bye := &farewell{first: finishing, second: "left at once; nothing is lost: `postrider " + name + "` goes on, and finds out what was in flight"}
	if !r.worker {
		bye.first, bye.second = "stopping (Ctrl-C again leaves at once)", "left at once; `postrider "+name+"` goes on"
	}
	if m.cfg.LogFormat == "json" {
		bye.log = log // whose reader takes no other lines
	}
	m.atInterrupt.Store(bye)
	if err := m.showServing(e); err != nil {
		return err
	}
	var l *ledger.Ledger
	if r.worker || r.scheduler {
		if l, err = m.openLedger(ctx); err != nil {
			return err
		}
		defer func() { e.close(); l.Close() }() //nolint:errcheck // what was recorded is safe
	}
	if dashboard {
		console := &web.Server{Addr: m.cfg.Listen, Password: m.cfg.WebPassword.Reveal(), Redis: e.redis, Log: log}
		if err := console.Start(); err != nil {
			return err
		}
		log.Info("the queue's dashboard is up", "url", "http://"+console.Address()+"/queues/", "user", web.User)
		defer func() {
			end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := console.Shutdown(end); err != nil {
				log.Warn("the dashboard did not end in time", "error", err)
			}
		}()
	}
	if l != nil {
		if l, err = m.awaitRelease(ctx, l, log); err != nil {
			return err
		}
		if ctx.Err() == nil {
			if err := m.run(ctx, e, l, log, r); err != nil {
				return err
			}
		}
	}
	log.Info("running", "role", name, "version", m.Version)
	<-ctx.Done()
	log.Info("stopping: no new batches are taken, those in hand are recorded")
	return nil
}

// quarantineLook is how often a waiting role asks whether the quarantine has
// been lifted.
const quarantineLook = 2 * time.Second

// awaitRelease holds a role back while the ledger is quarantined, and says so
// once. It returns the ledger to go on with: lifted, it has a new id and is
// opened anew. It returns without an error when the context ends.
func (m *Main) awaitRelease(ctx context.Context, l *ledger.Ledger, log *slog.Logger) (*ledger.Ledger, error) {
	for waited := false; ; {
		err := refuseQuarantined(ctx, l)
		switch {
		case err == nil && !waited:
			return l, nil
		case err == nil:
			fresh, err := m.openLedger(ctx)
			if err != nil {
				return l, err
			}
			log.Info("the quarantine is lifted: sending may go on", "ledger", fresh.ID())
			return fresh, l.Close()
		case ctx.Err() != nil:
			return l, nil
		case !errors.Is(err, ledger.ErrQuarantined):
			if !waited {
				return l, err
			}
			log.Warn("the ledger cannot be read just now", "error", err)
		case !waited:
			log.Warn("waiting, and sending nothing", "reason", err)
			waited = true
		}
		select {
		case <-time.After(quarantineLook):
		case <-ctx.Done():
			return l, nil
		}
	}
}
