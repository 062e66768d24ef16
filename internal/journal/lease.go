package journal

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-mesh/serin/internal/clock"
	"github.com/serin-mesh/serin/internal/drive"
)

// leaseName is the Lease of a mesh: one process at a time drives a run.
const leaseName = "serin"

const (
	leaseTime  = 30 * time.Second
	leaseRenew = 10 * time.Second
	leaseWatch = leaseRenew + 5*time.Second // in which a holder that lives renews it
)

// errTaken says that another process holds the Lease.
var errTaken = errors.New("the Lease is another's")

// Acquire takes the mesh for this process until release is called, or is refused
// with the name of who has it. A holder that ran on this machine and has ended has lost
// it, and so has one that has not renewed it for 30 seconds, nor while it is watched: the
// clocks of two machines may differ.
func (j *Journal) Acquire(ctx context.Context, holder string) (func(), error) {
	me := identity(holder)
	if err := j.take(ctx, me); err != nil {
		return nil, err
	}
	j.me, j.lost = me, make(chan struct{})
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { j.renew(ctx, me, j.lost) })
	return func() {
		stop()
		done.Wait()
		j.me = ""
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = j.write(ctx, me, "") // it runs out by itself if this fails
	}, nil
}

// Lost is closed when another process has taken the mesh over.
func (j *Journal) Lost() <-chan struct{} { return j.lost }

func (j *Journal) take(ctx context.Context, me string) error {
	leases := j.kube.CoordinationV1().Leases(j.namespace)
	have, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: j.namespace}, Spec: j.spec(me)}
		if _, err := leases.Create(ctx, l, metav1.CreateOptions{FieldManager: manager}); err != nil {
			return fmt.Errorf("taking the mesh (Lease %s/%s): %w", j.namespace, leaseName, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Lease %s/%s: %w", j.namespace, leaseName, err)
	}
	who := j.live(have)
	if other := holderOf(have); who == "" && other != "" && other != me && !ended(other) {
		if have, err = j.watched(ctx, have); err != nil {
			return err
		}
		who = j.live(have)
	}
	if who != "" && who != me {
		return fmt.Errorf("%w: %s drives a run on this mesh; serin status shows it, serin pause asks it to stop; when that process has died its Lease %s/%s runs out in %s",
			drive.ErrRefused, name(who), j.namespace, leaseName, leaseTime)
	}
	have.Spec = j.spec(me)
	if _, err := leases.Update(ctx, have, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("taking the mesh (Lease %s/%s): %w", j.namespace, leaseName, err)
	}
	return nil
}

// watched reads a Lease again after a while: that it was renewed meanwhile says that
// its holder lives, whatever the clocks say.
func (j *Journal) watched(ctx context.Context, had *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if err := clock.Wait(ctx, leaseWatch); err != nil {
		return nil, fmt.Errorf("watching Lease %s/%s, whose holder seems to have died: %w", j.namespace, leaseName, err)
	}
	now, err := j.kube.CoordinationV1().Leases(j.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Lease %s/%s: %w", j.namespace, leaseName, err)
	}
	if who := holderOf(now); who != "" && !now.Spec.RenewTime.Equal(had.Spec.RenewTime) {
		return nil, fmt.Errorf("%w: %s drives a run on this mesh, and its clock and this machine's differ by more than %s; set them right, and serin status shows the run",
			drive.ErrRefused, name(who), leaseTime)
	}
	return now, nil
}

func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil || l.Spec.RenewTime == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// stillMine refuses a process whose Lease another has taken over. One that only
// ran out is taken again: nobody did anything meanwhile.
func (j *Journal) stillMine(ctx context.Context) error {
	if j.me == "" {
		return nil
	}
	l, err := j.kube.CoordinationV1().Leases(j.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading Lease %s/%s: %w", j.namespace, leaseName, err)
	}
	if err == nil && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity == j.me && j.live(l) != "" {
		return nil
	}
	if err == nil && l.Spec.AcquireTime != nil && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != j.me {
		return fmt.Errorf("%w: %s has taken the mesh over (Lease %s/%s) while this process did not renew it; serin status shows its run",
			drive.ErrRefused, cmp.Or(name(*l.Spec.HolderIdentity), "another process"), j.namespace, leaseName)
	}
	return j.take(ctx, j.me)
}

func (j *Journal) spec(holder string) coordinationv1.LeaseSpec {
	seconds, now := int32(leaseTime/time.Second), metav1.NewMicroTime(j.now())
	return coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now, AcquireTime: &now}
}

// live is who holds the Lease now, empty if nobody does.
func (j *Journal) live(l *coordinationv1.Lease) string {
	who := holderOf(l)
	if who == "" || j.now().Sub(l.Spec.RenewTime.Time) > leaseTime || ended(who) {
		return ""
	}
	return who
}

// Holder is who drives a run on this mesh now, empty if nobody does.
func (j *Journal) Holder(ctx context.Context) (string, error) {
	l, err := j.kube.CoordinationV1().Leases(j.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading Lease %s/%s: %w", j.namespace, leaseName, err)
	}
	return name(j.live(l)), nil
}

// renew goes on until ctx ends, or until another process has the Lease, which closes lost.
func (j *Journal) renew(ctx context.Context, me string, lost chan<- struct{}) {
	t := time.NewTicker(leaseRenew)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := j.write(ctx, me, me); errors.Is(err, errTaken) { // else the next tick tries again; two may fail before it runs out
				close(lost)
				return
			}
		}
	}
}

// write sets the holder of a Lease that me still holds; errTaken says that it does not.
func (j *Journal) write(ctx context.Context, me, holder string) error {
	leases := j.kube.CoordinationV1().Leases(j.namespace)
	l, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("renewing the Lease: %w", err)
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity != me {
		return errTaken
	}
	now := metav1.NewMicroTime(j.now())
	l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &now
	if _, err := leases.Update(ctx, l, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("renewing the Lease: %w", err)
	}
	return nil
}

// identity is who@host/pid/place/random: unique to the process, and telling.
func identity(who string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return who + "@" + host + "/" + strconv.Itoa(os.Getpid()) + "/" + place() + "/" + rand.Text()[:6]
}

// place is where a process id means one process: a PID namespace of one boot of a
// machine; empty on systems that name neither. Containers may share their host's name.
func place() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append(boot, ns...))
	return hex.EncodeToString(sum[:4])
}

// name is the part of an identity that people read.
func name(identity string) string {
	who, _, _ := strings.Cut(identity, "@")
	return who
}

// ended says whether the holder ran on this machine and is gone, so that a
// killed serin can be taken up again at once.
func ended(identity string) bool {
	_, rest, ok := strings.Cut(identity, "@")
	parts := strings.Split(rest, "/")
	host, err := os.Hostname()
	if !ok || len(parts) != 4 || err != nil || parts[0] != host || parts[2] != place() {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid == os.Getpid() {
		return false
	}
	return syscall.Kill(pid, 0) == syscall.ESRCH
}
