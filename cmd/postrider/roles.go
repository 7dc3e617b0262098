package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

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
			return m.runRole(cmd.Context(), "serve", roles{worker: true, scheduler: true}, dashboard)
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
			return m.runRole(cmd.Context(), "scheduler", roles{scheduler: true}, false)
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
	if err := m.showServing(e); err != nil {
		return err
	}
	if r.worker || r.scheduler {
		l, err := m.openLedger(ctx)
		if err != nil {
			return err
		}
		defer l.Close()
		defer e.close()
		if err := m.run(ctx, e, l, log, r); err != nil {
			return err
		}
	}
	var console *web.Server
	if dashboard {
		console = &web.Server{Addr: m.cfg.Listen, Password: m.cfg.WebPassword.Reveal(), Redis: e.redis, Log: log}
		if err := console.Start(); err != nil {
			return err
		}
		log.Info("the queue's dashboard is up", "url", "http://"+console.Address()+"/queues/", "user", web.User)
	}
	log.Info("running", "role", name, "version", m.Version)
	<-ctx.Done()
	log.Info("stopping: no new batches are taken, those in hand are recorded")
	if console != nil {
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := console.Shutdown(end); err != nil {
			log.Warn("the dashboard did not end in time", "error", err)
		}
	}
	return nil
}
