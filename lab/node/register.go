package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kubeletVersion is what the nodes say they are.
const kubeletVersion = "v1.36.3"

// register makes the Node, says it is ready, and keeps its lease.
func (k *Kubelet) register(ctx context.Context, name, ip string) error {
	labels := map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := k.opts.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("registering node %s: %w", name, err)
	}
	patch, err := json.Marshal(map[string]any{"status": nodeStatus(name, ip)})
	if err != nil {
		return fmt.Errorf("registering node %s: %w", name, err)
	}
	if _, err := k.opts.Client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("registering node %s: %w", name, err)
	}
	k.all.Go(func() { k.heartbeat(ctx, name) })
	return nil
}

func nodeStatus(name, ip string) corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("512"), corev1.ResourceMemory: resource.MustParse("2Ti"),
		corev1.ResourcePods: resource.MustParse("10000"), corev1.ResourceEphemeralStorage: resource.MustParse("2Ti"),
	}
	now := metav1.Now()
	status := corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}, {Type: corev1.NodeHostName, Address: name}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: kubeletVersion, OperatingSystem: "linux", Architecture: "amd64",
			ContainerRuntimeVersion: "serin-lab://1", OSImage: "serin lab", KernelVersion: "simulated",
		},
	}
	for _, t := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeReady} {
		c := corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, Reason: "Simulated", LastHeartbeatTime: now, LastTransitionTime: now}
		if t == corev1.NodeReady {
			c.Status, c.Reason = corev1.ConditionTrue, "KubeletReady"
		}
		status.Conditions = append(status.Conditions, c)
	}
	return status
}

// heartbeat renews the node's lease, so that the node controller thinks it alive.
func (k *Kubelet) heartbeat(ctx context.Context, name string) {
	leases := k.opts.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds := int32(40)
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		now := metav1.NowMicro()
		spec := coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
		patch, err := json.Marshal(map[string]any{"spec": spec})
		if err == nil {
			_, err = leases.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
		if apierrors.IsNotFound(err) {
			_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		}
		if err != nil && ctx.Err() == nil {
			k.say("node %s: renewing its lease: %v", name, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
