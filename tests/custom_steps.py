"""Models whose training step is not Keras's, on each backend."""

import keras
from keras import ops

BACKEND = keras.backend.backend()


class OwnTrainStep:
    """A step that a user may have written, right or wrong.

    Attributes:
        adds_losses: whether its loss contains `self.losses`.
        own_optimizer: updates the weights in the place of the one that the
            model is compiled with, if it is not None.
        untrained: the `id`s of the weights that no optimizer updates.
    """

    adds_losses = True
    own_optimizer = None
    untrained = frozenset()

    def trained(self):
        return [
            v for v in self.trainable_variables if id(v) not in self.untrained
        ]

    def loss_of(self, x, y):
        loss = ops.mean((y - self(x, training=True)) ** 2)
        return loss + sum(self.losses) if self.adds_losses else loss


if BACKEND == "tensorflow":
    import tensorflow as tf

    def own_train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.loss_of(*data)
        gradients = tape.gradient(loss, self.trained())
        optimizer = self.own_optimizer or self.optimizer
        optimizer.apply(gradients, self.trained())
        return {"loss": loss}

    class CustomStep(keras.Model):
        """The step of Keras's guide, and of many models."""

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, loss)
            return {m.name: m.result() for m in self.metrics}

    class OwnLoss(keras.Model):
        """Adds `self.losses` by hand, as in Keras 2."""

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = ops.mean((y - self(x, training=True)) ** 2)
                loss += sum(self.losses)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

elif BACKEND == "torch":
    import torch

    def own_train_step(self, data):
        self.zero_grad()
        loss = self.loss_of(*data)
        loss.backward()
        gradients = [v.value.grad for v in self.trained()]
        optimizer = self.own_optimizer or self.optimizer
        with torch.no_grad():
            optimizer.apply(gradients, self.trained())
        return {"loss": loss}

    class CustomStep(keras.Model):
        def train_step(self, data):
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            loss.backward()
            gradients = [v.value.grad for v in self.trainable_weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, self.trainable_weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, loss)
            return {m.name: m.result() for m in self.metrics}

    class OwnLoss(keras.Model):
        def train_step(self, data):
            x, y = data
            self.zero_grad()
            loss = ops.mean((y - self(x, training=True)) ** 2)
            loss = loss + sum(self.losses)
            loss.backward()
            gradients = [v.value.grad for v in self.trainable_weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, self.trainable_weights)
            return {"loss": loss}

else:
    import jax

    def own_train_step(self, state, data):
        tv, ntv, ov, mv = state
        x, y = data

        def loss_of(tv):
            y_pred, _, losses = self.stateless_call(
                tv, ntv, x, training=True, return_losses=True
            )
            return ops.mean((y - y_pred) ** 2) + sum(losses)

        loss, gradients = jax.value_and_grad(loss_of)(tv)
        new, ov = self.optimizer.stateless_apply(ov, gradients, tv)
        trained = {id(variable) for variable in self.trained()}
        tv = [
            after if id(variable) in trained else before
            for variable, before, after in zip(
                self.trainable_variables, tv, new, strict=True
            )
        ]
        return {"loss": loss}, (tv, ntv, ov, mv)

    class CustomStep(keras.Model):
        def train_step(self, state, data):
            tv, ntv, ov, mv = state
            x, y = data
            gradient = jax.value_and_grad(
                self.compute_loss_and_updates, has_aux=True
            )
            (loss, (_, _, ntv, mv)), gradients = gradient(
                tv, ntv, mv, x, y, None, training=True, optimizer_variables=ov
            )
            tv, ov = self.optimizer.stateless_apply(ov, gradients, tv)
            logs, new = {}, []
            for metric in self.metrics:
                own = mv[len(new) : len(new) + len(metric.variables)]
                given = (loss,) if metric.name == "loss" else (y, loss)
                own = metric.stateless_update_state(own, *given)
                logs[metric.name] = metric.stateless_result(own)
                new += own
            return logs, (tv, ntv, ov, new)

    class OwnLoss(keras.Model):
        def train_step(self, state, data):
            tv, ntv, ov, mv = state
            x, y = data

            def loss_of(tv, ntv):
                y_pred, ntv, losses = self.stateless_call(
                    tv, ntv, x, training=True, return_losses=True
                )
                return ops.mean((y - y_pred) ** 2) + sum(losses), ntv

            (loss, ntv), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                tv, ntv
            )
            tv, ov = self.optimizer.stateless_apply(ov, gradients, tv)
            return {"loss": loss}, (tv, ntv, ov, mv)


OwnTrainStep.train_step = own_train_step


class OwnTraining(OwnTrainStep, keras.Model):
    """A functional model with such a step."""
