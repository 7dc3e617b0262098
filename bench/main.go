// Bench measures the main job, from a CSV file to the last recorded outcome,
// beside two baselines in the same run:
//
//	bare      CSV, number check, posts in 8 goroutines: no queue, no ledger
//	naive     messages in the task's payload, one UPDATE a recipient
//	postrider import, plan, queue, attempts, outcomes
//
// BENCH_CPUPROFILE=FILE writes a CPU profile of each contender.
//
// Each runs as a process of its own against the same pretended provider, which
// answers at once, on the same machine; prices are switched off. It prints
// seconds, rows a second, peak memory, and ratios. Run it with
//
//	go run ./bench -rows 1000000
//
// With -look it measures reading the provider's history instead, with -quote
// pricing, with -import reading a file into a list.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// job is what one contender is given.
type job struct {
	CSV, BaseURL, Redis, Dir string
	Database                 string // postgres:// or empty for SQLite
	Rows                     int
	Binary                   string `json:"-"` // which runs it; this one when empty
}

// result is what one contender measured of itself.
type result struct {
	Accepted int
	Parts    map[string]float64 // seconds by part
	Seconds  float64            // from the start of the process to the last outcome

	last   time.Time // when that was
	CPU    float64   // user and system seconds of the process
	PeakMB float64   // both from the operating system's account of the process
}

func run() error {
	rows := flag.Int("rows", 1_000_000, "recipients")
	runs := flag.Int("runs", 3, "runs of each; the median counts")
	only := flag.String("only", "", "bare, naive or postrider; all when empty")
	postgres := flag.Bool("postgres", false, "postrider on PostgreSQL instead of SQLite")
	looks := flag.Bool("look", false, "measure reading the provider's history instead")
	finding := flag.Bool("reconcile", false, "measure finding out what became of lost answers instead")
	safety := flag.Bool("safety", false, "measure what recording attempts before their posts costs instead")
	quotes := flag.Bool("quote", false, "measure pricing a campaign by class instead")
	importing := flag.Bool("import", false, "measure importing a file into a list instead")
	role := flag.String("role", "", "internal: what a child process does")
	flag.Parse()
	switch *role {
	case "":
	case "provider":
		return provider()
	default:
		return child(*role)
	}
	switch {
	case *looks:
		return compareLooks(*rows, *runs)
	case *finding:
		return compareReconciling(*rows, *runs)
	case *safety:
		return compareSafety(*rows, *runs, *postgres)
	case *importing:
		return compareImports(*rows, *runs, *postgres, *only)
	case *quotes:
		return compareQuotes(*rows, *runs, *postgres)
	}
	return compare(*rows, *runs, *only, *postgres)
}

// child runs one contender: its job on stdin, its result on stdout.
func child(role string) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	contenders := map[string]func(context.Context, job) (result, error){"bare": bare, "naive": naive, "postrider": postrider}
	maps.Copy(contenders, lookers)
	maps.Copy(contenders, reconcilers)
	maps.Copy(contenders, quoters)
	maps.Copy(contenders, importers)
	if p := os.Getenv("BENCH_CPUPROFILE"); p != "" {
		f, err := os.Create(p + "." + role)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	begun := time.Now()
	r, err := contenders[role](context.Background(), j)
	if err != nil {
		return err
	}
	r.Seconds = r.last.Sub(begun).Seconds()
	return json.NewEncoder(os.Stdout).Encode(r)
}

func compare(rows, runs int, only string, postgres bool) error {
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "audience.csv")
	if err := writeAudience(file, rows); err != nil {
		return err
	}
	fmt.Printf("%d recipients, %s, %d CPUs, median of %d runs\n\n", rows, runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%-10s %9s %12s %9s %9s   %s\n", "", "seconds", "rows/s", "CPU s", "peak MB", "parts in seconds")
	medians := map[string]float64{}
	for _, role := range []string{"bare", "naive", "postrider"} {
		if only != "" && only != role {
			continue
		}
		var all []result
		for n := range runs {
			r, err := contend(role, job{CSV: file, Rows: rows, Dir: filepath.Join(dir, fmt.Sprint(role, n))}, postgres)
			if err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			if r.Accepted != rows {
				return fmt.Errorf("%s: %d of %d were accepted", role, r.Accepted, rows)
			}
			all = append(all, r)
		}
		m := median(all)
		medians[role] = m.Seconds
		fmt.Printf("%-10s %9.2f %12.0f %9.2f %9.0f   %s\n", role, m.Seconds, float64(rows)/m.Seconds, m.CPU, m.PeakMB, describeParts(m.Parts))
	}
	if only == "" {
		fmt.Printf("\npostrider is %.1f times as fast as naive, and takes %.2f times as long as bare\n",
			medians["naive"]/medians["postrider"], medians["postrider"]/medians["bare"])
	}
	return nil
}

func median(all []result) result {
	for i := range all {
		for j := i + 1; j < len(all); j++ {
			if all[j].Seconds < all[i].Seconds {
				all[i], all[j] = all[j], all[i]
			}
		}
	}
	return all[len(all)/2]
}

func describeParts(parts map[string]float64) string {
	var s []string
	for _, p := range []string{"import", "plan", "send"} {
		if v, ok := parts[p]; ok {
			s = append(s, fmt.Sprintf("%s %.2f", p, v))
		}
	}
	return strings.Join(s, ", ")
}

// onPostgres starts a server for the job in its folder, until end.
func (j *job) onPostgres(ctx context.Context) (end func(), err error) {
	pg, err := services.StartPostgres(ctx, filepath.Join(j.Dir, "postgres"), services.PostgresOptions{})
	if err != nil {
		return nil, err
	}
	end = func() { pg.Stop() } //nolint:errcheck // the folder goes with it
	if j.Database, err = pg.NewDatabase(ctx, "bench"); err != nil {
		end()
	}
	return end, err
}

// contend starts servers and provider afresh, runs one contender, and holds its
// count against the provider's.
func contend(role string, j job, postgres bool) (result, error) {
	ctx := context.Background()
	if err := os.MkdirAll(j.Dir, 0o755); err != nil {
		return result{}, err
	}
	defer os.RemoveAll(j.Dir)
	var r result
	if role != "bare" {
		redis, err := services.StartRedis(ctx, filepath.Join(j.Dir, "redis"), services.RedisOptions{AOF: true})
		if err != nil {
			return r, err
		}
		defer redis.Stop() //nolint:errcheck // the folder goes with it
		j.Redis = redis.URL()
	}
	if role == "postrider" && postgres {
		end, err := j.onPostgres(ctx)
		if err != nil {
			return r, err
		}
		defer end()
	}
	base, end, err := startProvider()
	if err != nil {
		return r, err
	}
	defer end()
	j.BaseURL = base
	if err := measure(role, j, &r); err != nil {
		return r, err
	}
	stats, err := providerStats(j.BaseURL)
	if err != nil {
		return r, err
	}
	if int(stats.Accepted) != j.Rows || stats.Again != 0 || stats.LargestBatch > 1000 {
		return r, fmt.Errorf("the provider counted %d accepted, %d twice, largest batch %d", stats.Accepted, stats.Again, stats.LargestBatch)
	}
	return r, nil
}

// startProvider starts the pretended provider and returns its base URL.
func startProvider() (base string, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	p := exec.Command(self, "-role", "provider")
	hold, err := p.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		return "", nil, err
	}
	end = func() { hold.Close(); p.Wait() } //nolint:errcheck // it ends with its stdin
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		end()
		return "", nil, fmt.Errorf("starting the provider: %w", err)
	}
	return strings.TrimSpace(line), end, nil
}

// measure runs one contender as a process of its own.
func measure(role string, j job, r *result) error {
	binary := j.Binary
	if binary == "" {
		var err error
		if binary, err = os.Executable(); err != nil {
			return err
		}
	}
	c := exec.Command(binary, "-role", role)
	input, err := json.Marshal(j)
	if err != nil {
		return err
	}
	c.Stdin = strings.NewReader(string(input))
	c.Stderr = os.Stderr
	answer, err := c.Output()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, r); err != nil {
		return err
	}
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.PeakMB = float64(usage.Maxrss) / 1024
		r.CPU = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
	}
	return nil
}

// writeAudience writes rows of an audience with ten columns, a tenth of the
// numbers in national form.
func writeAudience(path string, rows int) error {
	return writeRows(path, rows, "phone,first_name,last_name,email,city,state,postcode,tier,points,note", func(b []byte, i int) []byte {
		if i%10 == 0 {
			b = fmt.Appendf(b, "04%02d %03d %03d", 10+i/1_000_000, i/1000%1000, i%1000)
		} else {
			b = fmt.Appendf(b, "+614%08d", 10000000+i)
		}
		return fmt.Appendf(b, ",Ann%d,Miller,ann%d@example.com,Perth,WA,6000,gold,%d,customer since 2019", i%977, i, i%400)
	})
}

// writeRows writes a CSV file, whose rows are appended by row.
func writeRows(path string, rows int, header string, row func(b []byte, i int) []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	defer func() { err = errors.Join(err, w.Flush()) }()
	line := append([]byte(header), '\n')
	for i := range rows {
		if _, err := w.Write(line); err != nil {
			return err
		}
		line = append(row(line[:0], i), '\n')
	}
	if rows > 0 {
		_, err = w.Write(line)
	}
	return err
}

func providerStats(baseURL string) (sandbox.Stats, error) {
	var s sandbox.Stats
	err := getJSON(strings.TrimSuffix(baseURL, "/v3")+"/_sandbox/stats", &s)
	return s, err
}
