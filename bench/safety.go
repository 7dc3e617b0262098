package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// compareSafety measures what recording an attempt before its post costs: the
// whole job as it is, and built with the same sources but for a few lines, so
// that the attempt is recorded together with its answer. A crash of that one
// would send twice; it exists only here, while this runs.
func compareSafety(rows, runs int, postgres bool) error {
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	unsafe, err := buildUnrecorded(dir)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "audience.csv")
	if err := writeAudience(file, rows); err != nil {
		return err
	}
	fmt.Printf("sending to %d recipients, %s, %d CPUs, median of %d runs in turn\n\n", rows, runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%-10s %9s %12s %9s\n", "attempts", "send s", "rows/s", "CPU s")
	kinds := []struct{ name, binary string }{{"recorded", ""}, {"unrecorded", unsafe}}
	all := map[string][]result{}
	for n := range runs {
		for _, k := range kinds {
			r, err := contend("postrider", job{CSV: file, Rows: rows, Dir: filepath.Join(dir, fmt.Sprint(k.name, n)), Binary: k.binary}, postgres)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			r.Seconds = r.Parts["send"]
			all[k.name] = append(all[k.name], r)
		}
	}
	medians := map[string]float64{}
	for _, k := range kinds {
		m := median(all[k.name])
		medians[k.name] = m.Seconds
		fmt.Printf("%-10s %9.2f %12.0f %9.2f\n", k.name, m.Seconds, float64(rows)/m.Seconds, m.CPU)
	}
	fmt.Printf("\nrecording attempts before their posts makes sending %.2f times as long\n", medians["recorded"]/medians["unrecorded"])
	return nil
}

// unrecorded are the lines that differ. BeginAttempt only counts; closing
// records the attempt with its end.
var unrecorded = []struct{ file, old, new string }{
	{"ledger/attempts.go", "func (l *Ledger) BeginAttempt(ctx context.Context, cl *Claim, b Begin) (*Attempt, error) {", `
func (l *Ledger) BeginAttempt(_ context.Context, cl *Claim, b Begin) (*Attempt, error) {
	return &Attempt{Batch: cl.Batch, Campaign: cl.Campaign.ID, Number: cl.Attempts + 1, Members: b.Members,
		Deadline: time.Now().Add(b.Within), claim: cl, whole: len(b.Members) == len(cl.Recipients)}, nil
}

func (l *Ledger) beginAttempt(ctx context.Context, cl *Claim, b Begin) (*Attempt, error) {`},
	{"ledger/outcomes.go", "	if err := tx.exec.QueryRowContext(ctx, `SELECT state, unresolved FROM attempts WHERE id = $1`, a.ID)", `
	cl := a.claim
	if err := tx.exec.QueryRowContext(ctx, ` + "`" + `
		INSERT INTO attempts (campaign_id, batch_id, channel, number, fence, worker, provider_url, provider_user, state, size, members, reserved, started_at, deadline)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id` + "`" + `,
		a.Campaign, a.Batch, string(cl.Campaign.Channel), a.Number, cl.Fence, cl.Worker, cl.Campaign.Provider.URL, cl.Campaign.Provider.User,
		attemptOpen, len(a.Members), encodeMembers(a.Members), 0, done.now, a.Deadline.UnixMilli()).Scan(&a.ID); err != nil {
		return nil, err
	}
	if _, err := tx.exec.ExecContext(ctx, ` + "`" + `UPDATE batches SET attempts = $1 WHERE id = $2` + "`" + `, a.Number, a.Batch); err != nil {
		return nil, err
	}
	if err := tx.exec.QueryRowContext(ctx, ` + "`" + `SELECT state, unresolved FROM attempts WHERE id = $1` + "`" + `, a.ID)`},
}

// buildUnrecorded builds this benchmark anew over the changed sources.
func buildUnrecorded(dir string) (string, error) {
	overlay := map[string]map[string]string{"Replace": {}}
	for i, c := range unrecorded {
		path, err := filepath.Abs(c.file)
		if err != nil {
			return "", err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("run this in the repository: %w", err)
		}
		if strings.Count(string(source), c.old) != 1 {
			return "", fmt.Errorf("%s does not hold the line that is to be changed, once: mend bench/safety.go", c.file)
		}
		changed := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(source), c.old, c.new, 1)), 0o600); err != nil {
			return "", err
		}
		overlay["Replace"][path] = changed
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "unrecorded")
	if out, err := exec.Command("go", "build", "-overlay", list, "-o", binary, "./bench").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building without attempts: %w\n%s", err, out)
	}
	return binary, nil
}
