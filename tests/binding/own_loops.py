"""Models whose training step is their own, as in the examples of keras.io.

Each has its optimizers, and says which of them updates which part. The inputs
hold their noise, so that two runs are equal.
"""

import keras
from keras import layers, ops

BACKEND = keras.backend.backend()

if BACKEND == "tensorflow":
    import tensorflow as tf

    def update(optimizer, loss_of, variables):
        """Update `variables` by the gradient of `loss_of()`."""
        with tf.GradientTape() as tape:
            loss = loss_of()
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return loss

elif BACKEND == "torch":
    import torch

    def update(optimizer, loss_of, variables):
        for variable in variables:
            variable.value.grad = None
        loss = loss_of()
        loss.backward()
        gradients = [v.value.grad for v in variables]
        with torch.no_grad():
            optimizer.apply(gradients, variables)
        return loss.detach()


def logits_loss(real, fake):
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))


def square(x):
    return ops.mean(x**2)


class Loop(keras.Model):
    """A model that `make(dense, optimizer)` sets up; it has no `call`.

    `dense(units)` makes a layer, `optimizer()` an optimizer.
    """

    def __init__(self, dense, optimizer):
        super().__init__(name="loop")
        self.make(dense, optimizer)
        if BACKEND != "tensorflow":
            # There `fit` calls a model that is not built.
            self.built = True

    def net(self, dense, *units, inputs=4, name):
        hidden = [dense(n, activation="relu") for n in units[:-1]]
        return keras.Sequential(
            [keras.Input((inputs,)), *hidden, dense(units[-1])], name=name
        )

    def updates(self):
        """`[(part, optimizer, updates for each batch)]`."""
        raise NotImplementedError

    def losses_of(self, part):
        return sum(part.losses)


class GAN(Loop):
    critic_steps = 1

    def make(self, dense, optimizer):
        self.generator = self.net(dense, 6, 4, inputs=2, name="generator")
        self.discriminator = self.net(dense, 6, 1, name="discriminator")
        self.g_optimizer, self.d_optimizer = optimizer(), optimizer()

    def updates(self):
        return [
            (self.generator, self.g_optimizer, 1),
            (self.discriminator, self.d_optimizer, self.critic_steps),
        ]

    def train_step(self, x):
        z, d, g = x[:, :2], self.discriminator, self.generator
        for _ in range(self.critic_steps):
            d_loss = update(
                self.d_optimizer,
                lambda: logits_loss(d(x), d(g(z))) + self.losses_of(d),
                d.trainable_weights,
            )
        g_loss = update(
            self.g_optimizer,
            lambda: ops.mean(ops.softplus(-d(g(z)))) + self.losses_of(g),
            g.trainable_weights,
        )
        return {"d_loss": d_loss, "g_loss": g_loss}


class WGAN(GAN):
    critic_steps = 3


class VAE(Loop):
    def make(self, dense, optimizer):
        self.encoder = self.net(dense, 6, 4, name="encoder")
        self.decoder = self.net(dense, 6, 4, inputs=2, name="decoder")
        self.compile(optimizer=optimizer())

    def updates(self):
        return [
            (self.encoder, self.optimizer, 1),
            (self.decoder, self.optimizer, 1),
        ]

    def loss_of(self, x):
        code = self.encoder(x)
        mean, log = code[:, :2], code[:, 2:]
        z = mean + ops.exp(0.5 * log) * x[:, 2:]
        divergence = square(mean) + ops.mean(ops.exp(log) - log - 1.0)
        return square(self.decoder(z) - x) + divergence + sum(self.losses)

    def train_step(self, x):
        loss = update(
            self.optimizer, lambda: self.loss_of(x), self.trainable_weights
        )
        return {"loss": loss}


class Teacher(Loop):
    """A student, and a teacher that is the moving average of it."""

    def make(self, dense, optimizer):
        self.student = self.net(dense, 6, 4, name="student")
        self.teacher = self.net(layers.Dense, 6, 4, name="teacher")
        self.teacher.set_weights(self.student.get_weights())
        self.compile(optimizer=optimizer())

    def updates(self):
        return [(self.student, self.optimizer, 1), (self.teacher, None, 0)]

    def train_step(self, x):
        target = ops.stop_gradient(self.teacher(x))
        loss = update(
            self.optimizer,
            lambda: (
                square(self.student(x) - x)
                + square(self.student(x) - target)
                + self.losses_of(self.student)
            ),
            self.student.trainable_weights,
        )
        for mean, new in zip(
            self.teacher.weights, self.student.weights, strict=True
        ):
            mean.assign(0.9 * mean + 0.1 * new)
        return {"loss": loss}


class Distiller(Loop):
    def make(self, dense, optimizer):
        self.teacher = self.net(layers.Dense, 8, 4, name="teacher")
        self.teacher.trainable = False
        self.student = self.net(dense, 6, 4, name="student")
        self.compile(optimizer=optimizer())

    def call(self, x):
        return self.student(x)

    def updates(self):
        return [(self.student, self.optimizer, 1)]

    def train_step(self, x):
        target = self.teacher(x)
        loss = update(
            self.optimizer,
            lambda: square(self.student(x) - target) + sum(self.losses),
            self.trainable_weights,
        )
        return {"loss": loss}


class Contrastive(Loop):
    """An encoder that is trained on two views, and a linear probe."""

    def make(self, dense, optimizer):
        self.encoder = self.net(dense, 6, 4, name="encoder")
        self.probe = self.net(dense, 1, name="probe")
        self.contrastive_optimizer = optimizer()
        self.probe_optimizer = optimizer()

    def updates(self):
        return [
            (self.encoder, self.contrastive_optimizer, 1),
            (self.probe, self.probe_optimizer, 1),
        ]

    def train_step(self, x):
        def contrastive_loss():
            a, b = self.encoder(x), self.encoder(ops.flip(x, axis=1))
            near = -ops.mean(ops.log_softmax(a @ ops.transpose(b)))
            return near + self.losses_of(self.encoder)

        loss = update(
            self.contrastive_optimizer,
            contrastive_loss,
            self.encoder.trainable_weights,
        )
        features = ops.stop_gradient(self.encoder(x))
        probe_loss = update(
            self.probe_optimizer,
            lambda: (
                square(self.probe(features) - x[:, :1])
                + self.losses_of(self.probe)
            ),
            self.probe.trainable_weights,
        )
        return {"loss": loss, "probe_loss": probe_loss}


class ActorCritic(Loop):
    """The optimizers are in a dict; the critic is updated twice."""

    def make(self, dense, optimizer):
        self.actor = self.net(dense, 6, 2, name="actor")
        self.critic = self.net(dense, 6, 1, name="critic")
        self.optimizers = {"actor": optimizer(), "critic": optimizer()}

    def updates(self):
        return [
            (self.actor, self.optimizers["actor"], 1),
            (self.critic, self.optimizers["critic"], 2),
        ]

    def train_step(self, x):
        reward = x[:, :1]
        for _ in range(2):
            value_loss = update(
                self.optimizers["critic"],
                lambda: (
                    square(self.critic(x) - reward)
                    + self.losses_of(self.critic)
                ),
                self.critic.trainable_weights,
            )
        advantage = ops.stop_gradient(reward - self.critic(x))
        policy_loss = update(
            self.optimizers["actor"],
            lambda: (
                -ops.mean(ops.log_softmax(self.actor(x))[:, :1] * advantage)
                + self.losses_of(self.actor)
            ),
            self.actor.trainable_weights,
        )
        return {"value_loss": value_loss, "policy_loss": policy_loss}


class Greedy(layers.Layer):
    """A layer of a forward-forward network, with an optimizer of its own."""

    def __init__(self, dense, optimizer):
        super().__init__()
        self.dense = dense
        self.optimizer = optimizer

    def call(self, x):
        return ops.relu(self.dense(x))

    def train(self, positive, negative):
        def loss_of():
            goodness = [ops.mean(self(x) ** 2, 1) for x in (positive, negative)]
            return logits_loss(goodness[0] - 1.0, goodness[1] - 1.0) + sum(
                self.losses
            )

        return update(self.optimizer, loss_of, self.trainable_weights)


class ForwardForward(Loop):
    def make(self, dense, optimizer):
        self.stack = [
            Greedy(dense(6, name=f"dense_{i}"), optimizer()) for i in range(2)
        ]
        for layer, inputs in zip(self.stack, (4, 6), strict=True):
            layer.dense.build((None, inputs))
            layer.built = True

    def updates(self):
        return [(layer, layer.optimizer, 1) for layer in self.stack]

    def train_step(self, x):
        positive, negative = x, ops.flip(x, axis=1)
        for layer in self.stack:
            loss = layer.train(positive, negative)
            positive = ops.stop_gradient(layer(positive))
            negative = ops.stop_gradient(layer(negative))
        return {"loss": loss}


LOOPS = [
    GAN,
    WGAN,
    VAE,
    Teacher,
    Distiller,
    Contrastive,
    ActorCritic,
    ForwardForward,
]
