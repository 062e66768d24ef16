package journal

import (
	"cmp"
	"context"
	"crypto/rand"
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

	"github.com/serin-mesh/serin/internal/drive"
)

// leaseName is the Lease of a mesh: one process at a time drives a run.
const leaseName = "serin"

const (
	leaseTime  = 30 * time.Second
	leaseRenew = 10 * time.Second
)

// Acquire takes the mesh for this process until release is called, or is refused
// with the name of who has it. A holder that has not renewed for 30 seconds, or
// that ran on this machine and has ended, has lost it.
func (j *Journal) Acquire(ctx context.Context, holder string) (func(), error) {
	me := identity(holder)
	if err := j.take(ctx, me); err != nil {
		return nil, err
	}
	j.me = me
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { j.renew(ctx, me) })
	return func() {
		stop()
		done.Wait()
		j.me = ""
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = j.write(ctx, me, "") // it runs out by itself if this fails
	}, nil
}

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
	if who := j.live(have); who != "" && who != me {
		return fmt.Errorf("%w: %s drives a run on this mesh; serin status shows it, serin pause asks it to stop; when that process has died its Lease %s/%s runs out in %s",
			drive.ErrRefused, name(who), j.namespace, leaseName, leaseTime)
	}
	have.Spec = j.spec(me)
	if _, err := leases.Update(ctx, have, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("taking the mesh (Lease %s/%s): %w", j.namespace, leaseName, err)
	}
	return nil
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
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil {
		return ""
	}
	if j.now().Sub(l.Spec.RenewTime.Time) > leaseTime || ended(*l.Spec.HolderIdentity) {
		return ""
	}
	return *l.Spec.HolderIdentity
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

func (j *Journal) renew(ctx context.Context, me string) {
	t := time.NewTicker(leaseRenew)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = j.write(ctx, me, me) // the next tick tries again; two may fail before it runs out
		}
	}
}

// write sets the holder of a Lease that me still holds.
func (j *Journal) write(ctx context.Context, me, holder string) error {
	leases := j.kube.CoordinationV1().Leases(j.namespace)
	l, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("renewing the Lease: %w", err)
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity != me {
		return nil // somebody took it over
	}
	now := metav1.NewMicroTime(j.now())
	l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &now
	if _, err := leases.Update(ctx, l, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("renewing the Lease: %w", err)
	}
	return nil
}

// identity is who@host/pid/random: unique to the process, and telling.
func identity(who string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return who + "@" + host + "/" + strconv.Itoa(os.Getpid()) + "/" + rand.Text()[:6]
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
	if !ok || len(parts) != 3 || err != nil || parts[0] != host {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid == os.Getpid() {
		return false
	}
	return syscall.Kill(pid, 0) == syscall.ESRCH
}
