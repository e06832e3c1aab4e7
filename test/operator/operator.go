//go:build unix

// Package operator installs Wayleave on a local cluster and runs its processes beside it, each under its own
// ServiceAccount with the rights of config/rbac and no others. Tests and the demo use the same one.
package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
)

// Namespace is where Wayleave runs.
const Namespace = "wayleave-system"

// Operator is Wayleave on a cluster.
type Operator struct {
	cluster *cluster.Cluster
	client  client.Client
	dir     string
	root    string
	binary  string
	port    int
	log     io.Writer
	flags   []string // of the controller

	programs map[string]*cluster.Program
	health   map[string]string // readiness URL of each process
	cancel   context.CancelFunc
}

// Options of an Operator.
type Options struct {
	// Root is the root of the repository.
	Root string
	// Log takes progress for a person, a line at a time; nil is silence.
	Log io.Writer
	// LeaseDuration is how long a controller waits for the Lease of one that crashed; zero is the controller's default.
	LeaseDuration time.Duration
	// WithoutFloor has the controller work where the policies are not as they are shipped.
	WithoutFloor bool
}

// Scheme knows our kinds and those of Kubernetes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil { // registering constant types twice is the only way to fail
			panic(err)
		}
	}
	return scheme
}

// Start installs Wayleave and starts its processes. It returns when all of them are ready. They end with the cluster.
func Start(ctx context.Context, c *cluster.Cluster, o Options) (*Operator, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	admin, err := client.New(c.Config(), client.Options{Scheme: Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	op := &Operator{
		cluster: c, client: admin, root: o.Root, log: o.Log, flags: controllerFlags(o),
		dir: filepath.Join(c.Dir(), "wayleave"), programs: map[string]*cluster.Program{}, health: map[string]string{},
	}
	if err := os.MkdirAll(op.certDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the operator: %w", err)
	}
	op.binary = filepath.Join(op.dir, "wayleave-operator")
	if err := cluster.BuildProgram(ctx, "github.com/wayleave/wayleave/cmd/wayleave", op.binary); err != nil {
		return nil, fmt.Errorf("building the operator: %w", err)
	}
	if op.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := op.install(ctx); err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{op.startCerts, op.StartWebhook, op.StartController} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	return op, nil
}

func (op *Operator) certDir() string { return filepath.Join(op.dir, "certs") }

// install applies what an installer would, with the webhook configurations pointing at this machine.
func (op *Operator) install(ctx context.Context) error {
	for _, part := range []string{"crd", "rbac", "policy", "webhook"} {
		objects, err := Load(filepath.Join(op.root, "config", part))
		if err != nil {
			return err
		}
		for _, object := range objects {
			if err := op.pointHere(object); err != nil {
				return err
			}
			apply := client.ApplyConfigurationFromUnstructured(object)
			if err := op.client.Apply(ctx, apply, client.FieldOwner("installer"), client.ForceOwnership); err != nil {
				return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
			}
		}
	}
	return until(ctx, "the kinds of Wayleave to be served", func(ctx context.Context) error {
		return op.client.List(ctx, &v1alpha1.DelegationHopList{})
	})
}

// pointHere replaces the Service in a webhook configuration by a URL on this machine, where the webhook runs.
func (op *Operator) pointHere(object *unstructured.Unstructured) error {
	hooks, found, err := unstructured.NestedSlice(object.Object, "webhooks")
	if err != nil || !found {
		return err
	}
	for _, hook := range hooks {
		config, _ := hook.(map[string]any)["clientConfig"].(map[string]any)
		path, _, err := unstructured.NestedString(config, "service", "path")
		if err != nil {
			return fmt.Errorf("reading the path of a webhook: %w", err)
		}
		delete(config, "service")
		config["url"] = fmt.Sprintf("https://localhost:%d%s", op.port, path)
	}
	return unstructured.SetNestedSlice(object.Object, hooks, "webhooks")
}

func (op *Operator) startCerts(ctx context.Context) error {
	if err := op.run(ctx, "certs", "--cert-dir", op.certDir(), "--dns-name", "localhost"); err != nil {
		return err
	}
	// What the kubelet would do: keep the Secret's content in the folder.
	watch, cancel := context.WithCancel(context.Background())
	op.cancel = cancel
	go op.mountCertificate(watch)
	return op.untilReady(ctx, "certs")
}

func (op *Operator) mountCertificate(ctx context.Context) {
	for ctx.Err() == nil {
		secret := &corev1.Secret{}
		if err := op.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: "wayleave-webhook-cert"}, secret); err == nil {
			for name, content := range secret.Data {
				path := filepath.Join(op.certDir(), name)
				if current, err := os.ReadFile(path); err != nil || !bytes.Equal(current, content) {
					_ = os.WriteFile(path, content, 0o600) // tried again in a moment
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// StartWebhook starts the webhook and returns when it is ready.
func (op *Operator) StartWebhook(ctx context.Context) error {
	if err := op.run(ctx, "webhook", "--cert-dir", op.certDir(), "--host", "127.0.0.1", "--port", strconv.Itoa(op.port)); err != nil {
		return err
	}
	return op.untilReady(ctx, "webhook")
}

// StartAnotherWebhook starts a webhook beside the one that the installed configurations name, with more flags, and returns its URL
// without a path when it is ready.
func (op *Operator) StartAnotherWebhook(ctx context.Context, name string, flags ...string) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	flags = append([]string{"--cert-dir", op.certDir(), "--host", "127.0.0.1", "--port", strconv.Itoa(port)}, flags...)
	if err := op.runAs(ctx, "webhook", name, flags...); err != nil {
		return "", err
	}
	return fmt.Sprintf("https://localhost:%d", port), op.untilReady(ctx, name)
}

// Attempt runs a command of Wayleave with the account of a process until it ends, and returns what it has printed.
func (op *Operator) Attempt(ctx context.Context, command string, flags ...string) (string, error) {
	kubeconfig, err := op.kubeconfig(ctx, command)
	if err != nil {
		return "", err
	}
	flags = append([]string{command, "--kubeconfig", kubeconfig, "--health-probe-bind-address=0"}, flags...)
	out, err := exec.CommandContext(ctx, op.binary, flags...).CombinedOutput()
	return string(out), err
}

// The processes of the controller. They are replicas of each other, of which one leads.
const (
	Controller = "controller"
	Standby    = "standby"
)

// StartController starts the controller and returns when it is ready. It leads once the Lease is free.
func (op *Operator) StartController(ctx context.Context) error {
	return op.startReplica(ctx, Controller)
}

// StartStandby starts a second replica of the controller and returns when it is ready to take over.
func (op *Operator) StartStandby(ctx context.Context) error { return op.startReplica(ctx, Standby) }

func (op *Operator) startReplica(ctx context.Context, name string) error {
	if err := op.runAs(ctx, Controller, name, op.flags...); err != nil {
		return err
	}
	return op.untilReady(ctx, name)
}

// controllerFlags has times of the lease that are in the proportions of the defaults, with more attempts to renew.
func controllerFlags(o Options) []string {
	flags := []string{"--require-floor=" + strconv.FormatBool(!o.WithoutFloor)}
	duration := o.LeaseDuration
	if duration == 0 {
		return flags
	}
	return append(flags,
		"--leader-elect-lease-duration="+duration.String(),
		"--leader-elect-renew-deadline="+(duration*4/5).String(),
		"--leader-elect-retry-period="+(duration/10).String(),
	)
}

// Shutdown asks a process to end, as a rollout would: a leader releases its Lease.
func (op *Operator) Shutdown(name string) { op.programs[name].Stop() }

// Kill ends a process as a crash would.
func (op *Operator) Kill(name string) { op.programs[name].Kill() }

// PID is the process id of a process that was started.
func (op *Operator) PID(name string) int { return op.programs[name].PID() }

// Log is the path of a process's output: its log, and its audit lines. It is empty for one that was never started.
func (op *Operator) Log(name string) string {
	program, ok := op.programs[name]
	if !ok {
		return ""
	}
	return program.Log()
}

// AuditLines returns what the controller has printed, its audit lines among it.
func (op *Operator) AuditLines(context.Context) ([]byte, error) {
	return os.ReadFile(op.Log(Controller))
}

// Stop ends the processes.
func (op *Operator) Stop() {
	if op.cancel != nil {
		op.cancel()
	}
	for _, program := range op.programs {
		program.Stop()
	}
}

func (op *Operator) run(ctx context.Context, command string, args ...string) error {
	return op.runAs(ctx, command, command, args...)
}

// runAs starts one of several processes of the same command and account.
func (op *Operator) runAs(ctx context.Context, command, name string, args ...string) error {
	kubeconfig, err := op.kubeconfig(ctx, command)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	op.health[name] = "http://" + address + "/readyz"
	args = append([]string{command, "--kubeconfig", kubeconfig, "--health-probe-bind-address", address}, args...)
	program, err := op.cluster.StartProgram("wayleave-"+name, op.binary, args...)
	if err != nil {
		return fmt.Errorf("starting wayleave %s: %w", name, err)
	}
	op.programs[name] = program
	return nil
}

// kubeconfig makes a kubeconfig for a process's own ServiceAccount, and for nothing more.
func (op *Operator) kubeconfig(ctx context.Context, name string) (string, error) {
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = Namespace, "wayleave-"+name
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 3600)}}
	if err := op.client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("making a token for wayleave-%s: %w", name, err)
	}
	config := rest.AnonymousClientConfig(op.cluster.Config())
	config.BearerToken = request.Status.Token
	path := filepath.Join(op.dir, name+".kubeconfig")
	return path, cluster.WriteKubeconfig(path, name, config)
}

func (op *Operator) untilReady(ctx context.Context, name string) error {
	return until(ctx, "wayleave "+name+" to be ready", func(ctx context.Context) error {
		if err := op.programs[name].Died(); err != nil {
			return err
		}
		return op.Ready(ctx, name)
	})
}

// Ready fails unless a process says that it is ready.
func (op *Operator) Ready(ctx context.Context, name string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, op.health[name], http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		checks, err := io.ReadAll(response.Body)
		return errors.Join(fmt.Errorf("/readyz answers %s: %s", response.Status, checks), err)
	}
	return nil
}

// patience is for one step of a start, on a machine that does much else.
const patience = 90 * time.Second

func until(ctx context.Context, what string, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// freePort finds a port on loopback without a listener.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("a TCP listener has the address %v", listener.Addr())
	}
	return address.Port, nil
}
